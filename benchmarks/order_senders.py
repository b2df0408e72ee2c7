"""Senders of orders that write each acknowledged event to a file before they send the next one."""

import json
import threading
from pathlib import Path
from typing import Any

from benchmarks.gateway_connection import BROKEN, GatewayConnection
from cli.gateway_client import Client
from core import clock

EVENTS_PER_CALL = 20
PEOPLE = 1000  # of each sender, so that nobody has more orders than a state holds
PAUSE = 0.2  # seconds between calls, and before a call is repeated
STOP_TIMEOUT = 60.0  # seconds for the last call
PRICE = "1.25"


class AcknowledgedIds:
    """The ids of acknowledged events, in order; also written to a file."""

    def __init__(self, path: Path) -> None:
        self.ids: list[str] = []
        self._file = path.open("w")
        self._lock = threading.Lock()

    def add(self, ids: list[str]) -> None:
        """Add ids; they are in the file when this returns."""
        with self._lock:
            self._file.writelines(f"{id}\n" for id in ids)
            self._file.flush()
            self.ids += ids

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class OrderSender(threading.Thread):
    """Sends orders of its own people; repeats each call unchanged until all its events are acknowledged."""

    def __init__(self, client: Client, name: str, acknowledged: AcknowledgedIds) -> None:
        super().__init__(daemon=True, name=name)
        self.refused: list[str] = []  # answers that no repetition can change
        self.people = [f"{name}-{number}" for number in range(PEOPLE)]
        self._acknowledged = acknowledged
        self._connection = GatewayConnection(client.base_url, client.token())
        self._stopped = threading.Event()

    def run(self) -> None:
        """Send calls until stopped; the call in flight is finished first."""
        number = 0
        while not self._stopped.wait(PAUSE) and not self.refused:
            self._deliver([self._event(number + offset) for offset in range(EVENTS_PER_CALL)])
            number += EVENTS_PER_CALL
        self._connection.close()

    def stop(self) -> None:
        """Begin no more calls, and wait for the last one until the timeout."""
        self._stopped.set()
        self.join(STOP_TIMEOUT)

    def _event(self, number: int) -> dict[str, Any]:
        return {
            "id": f"{self.name}-{number}",
            "type": "PURCHASE",
            "occurredAt": clock.now().isoformat(),
            "userId": self.people[number % PEOPLE],
            "itemId": f"item-{number % 7}",
            "orderId": f"{self.name}-{number}",
            "quantity": 1,
            "unitPrice": PRICE,
            "currency": "EUR",
        }

    def _deliver(self, events: list[dict[str, Any]]) -> None:
        pause = threading.Event()
        while events and not self.refused:
            taken = {result["id"] for result in self._post(events) if self._is_acknowledged(result)}
            self._acknowledged.add([event["id"] for event in events if event["id"] in taken])
            events = [event for event in events if event["id"] not in taken]
            if events:
                pause.wait(PAUSE)

    def _is_acknowledged(self, result: dict[str, Any]) -> bool:
        """A duplicate counts too: the event was acknowledged and the answer was lost."""
        if result["outcome"] in ("REJECTED", "CONFLICT"):
            self.refused.append(json.dumps(result))
        return result["outcome"] in ("ACCEPTED", "DUPLICATE")

    def _post(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results; empty when the gateway did not answer or is temporarily unable to."""
        try:
            status, body = self._connection.post("/events", json.dumps(events))
        except BROKEN:
            return []
        if status == 200:
            return list(json.loads(body)["results"])
        if status <= 500:  # 500 is a bug, not an outage
            self.refused.append(f"{status} {body[:500]!r}")
        return []
