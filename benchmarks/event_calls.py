"""Calls of events sent over HTTP: bodies built in advance but for their ids, on a few kept-alive connections."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit

TRACK = """mutation Track($events: [EventInput!]!) { trackEvents(events: $events) {
  accepted results(only: [DUPLICATE, CONFLICT, REJECTED, RETRY]) { index outcome message } } }"""
TYPES = ("VIEW",) * 14 + ("CLICK",) * 2 + ("ADD_TO_CART",) * 3 + ("PURCHASE",)  # of every 20 events
PEOPLE, ITEMS, BODIES = 20_000, 2_000, 200
_CALL_NUMBER = b"@@@@@@@@@@@@"  # each call replaces it with its own number


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where the gateway answers, and the token to send."""

    base_url: str
    token: str


class AsyncConnection:
    """One kept-alive connection, with as little code of ours per call as possible: it shares the gateway's cores."""

    def __init__(self, address: GatewayAddress, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._head = (
            f"POST /graphql HTTP/1.1\r\nHost: {urlsplit(address.base_url).netloc}\r\n"
            f"Authorization: Bearer {address.token}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    @classmethod
    async def opened(cls, address: GatewayAddress) -> Self:
        """A new connection to this address."""
        parts = urlsplit(address.base_url)
        return cls(address, *await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(self, body: bytes) -> Any:
        """The `data` of an answer, which must have status 200 and no errors."""
        answer = json.loads(await self.text(body))
        assert "errors" not in answer, answer
        return answer["data"]

    async def text(self, body: bytes) -> bytes:
        """The text of an answer, which must have status 200."""
        self._writer.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), (head, answer)
        return answer

    def close(self) -> None:
        """Close it."""
        self._writer.close()

    async def track(self, body: bytes, count: int) -> None:
        """Send one call of `count` events, all of which must be accepted."""
        payload = (await self.ask(body))["trackEvents"]
        assert payload["accepted"] == count, payload


@dataclass
class Sent:
    """How many events were sent, and the milliseconds until each call was acknowledged."""

    events: int = 0
    milliseconds: list[float] = field(default_factory=list)


def bodies(seed: int, prefix: str, size: int) -> Iterator[bytes]:
    """An endless series of calls of `size` events: every id is unique, times are of the last hour."""
    draw, now = random.Random(seed), datetime.now(UTC)  # noqa: S311 - no secret
    made = [_body(draw, now, f"{prefix}-{number}", size) for number in range(BODIES if size > 1 else 50 * BODIES)]
    for call in itertools.count():
        yield made[call % len(made)].replace(_CALL_NUMBER, b"%012d" % call)


def _body(draw: random.Random, now: datetime, prefix: str, size: int) -> bytes:
    events = [_event(draw, now, f"{prefix}-{_CALL_NUMBER.decode()}-{place}") for place in range(size)]
    return json.dumps({"query": TRACK, "variables": {"events": events}}, separators=(",", ":")).encode()


def _event(draw: random.Random, now: datetime, id: str) -> dict[str, Any]:
    kind = draw.choice(TYPES)
    moment = now - timedelta(seconds=draw.uniform(0, 3600))
    event: dict[str, Any] = {
        "id": id,
        "type": kind,
        "occurredAt": moment.isoformat(timespec="milliseconds"),
        "userId": f"person-{min(int(draw.paretovariate(0.6)), PEOPLE)}",
        "itemId": f"item-{draw.randrange(ITEMS)}",
        "sessionId": f"session-{draw.randrange(100_000)}",
    }
    if kind == "PURCHASE":
        event |= {"orderId": f"order-{id}", "quantity": 2, "unitPrice": "3.99", "currency": "EUR"}
    return event


async def send(
    address: GatewayAddress, calls: Iterator[bytes], size: int, connections: int, seconds: float, most: float
) -> Sent:
    """Send calls one after the other on each connection, until the time is up or `most` events were sent."""
    sent, deadline = Sent(), time.monotonic() + seconds

    async def run() -> None:
        connection = await AsyncConnection.opened(address)
        while time.monotonic() < deadline and sent.events < most:
            began = time.monotonic()
            await connection.track(next(calls), size)
            sent.milliseconds.append((time.monotonic() - began) * 1000)
            sent.events += size

    await asyncio.gather(*(run() for _ in range(connections)))
    return sent
