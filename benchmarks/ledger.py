"""Senders who keep a ledger: what the gateway acknowledged is on the disk before the next event leaves."""

import json
import threading
from pathlib import Path
from typing import Any

from benchmarks.line import BROKEN, Line
from cli.gateway_client import Client
from core import clock

CALL = 20  # events
PEOPLE = 1000  # of each sender: nobody has more orders than a state keeps
PAUSE = 0.2  # seconds between calls, and before a call is sent again
PATIENCE = 60.0  # seconds for the last call
PRICE = "1.25"


class Ledger:
    """The ids that were acknowledged, in their order."""

    def __init__(self, path: Path) -> None:
        self.ids: list[str] = []
        self._file = path.open("w")
        self._lock = threading.Lock()

    def enter(self, ids: list[str]) -> None:
        """Write them down, out of this process, before this returns."""
        with self._lock:
            self._file.writelines(f"{id}\n" for id in ids)
            self._file.flush()
            self.ids += ids

    def close(self) -> None:
        """Write no more."""
        self._file.close()


class Sender(threading.Thread):
    """A shop's till: orders of its own people, each call sent again, word for word, until all of it is acknowledged."""

    def __init__(self, client: Client, till: str, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self.refused: list[str] = []  # what no retry would mend
        self.people = [f"{till}-{number}" for number in range(PEOPLE)]
        self._till, self._ledger = till, ledger
        self._line = Line(client)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Send until stopped; what was begun is sent to its end."""
        number = 0
        while not self._stopped.wait(PAUSE) and not self.refused:
            self._deliver([self._event(number + each) for each in range(CALL)])
            number += CALL
        self._line.close()

    def stop(self) -> None:
        """Begin no more calls, and wait for the last one, unless nobody will take it."""
        self._stopped.set()
        self.join(PATIENCE)

    def _event(self, number: int) -> dict[str, Any]:
        return {
            "id": f"{self._till}-{number}",
            "type": "PURCHASE",
            "occurredAt": clock.now().isoformat(),
            "userId": self.people[number % PEOPLE],
            "itemId": f"item-{number % 7}",
            "orderId": f"{self._till}-{number}",
            "quantity": 1,
            "unitPrice": PRICE,
            "currency": "EUR",
        }

    def _deliver(self, events: list[dict[str, Any]]) -> None:
        pause = threading.Event()
        while events and not self.refused:
            taken = {result["id"] for result in self._post(events) if self._is_taken(result)}
            self._ledger.enter([event["id"] for event in events if event["id"] in taken])
            events = [event for event in events if event["id"] not in taken]
            if events:
                pause.wait(PAUSE)

    def _is_taken(self, result: dict[str, Any]) -> bool:
        """A duplicate was taken when the answer got lost."""
        if result["outcome"] in ("REJECTED", "CONFLICT"):
            self.refused.append(json.dumps(result))
        return result["outcome"] in ("ACCEPTED", "DUPLICATE")

    def _post(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results; none when nobody answered, or answered that it cannot now."""
        try:
            status, body = self._line.post("/events", json.dumps(events))
        except BROKEN:
            return []
        if status == 200:
            return list(json.loads(body)["results"])
        if status <= 500:  # a bug is no outage
            self.refused.append(f"{status} {body[:500]!r}")
        return []
