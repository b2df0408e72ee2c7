"""Events sent over HTTP: bodies made ahead but for their ids, on a few kept-alive connections."""

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
_PLACE = b"@@@@@@@@@@@@"  # where each call writes its own number


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock, and with which token."""

    base_url: str
    token: str


class Caller:
    """One kept-alive connection."""

    def __init__(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._head = (
            f"POST /graphql HTTP/1.1\r\nHost: {urlsplit(door.base_url).netloc}\r\n"
            f"Authorization: Bearer {door.token}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    @classmethod
    async def opened(cls, door: Door) -> Self:
        """A connection to that door."""
        parts = urlsplit(door.base_url)
        return cls(door, *await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(self, body: bytes) -> Any:
        """The `data` of an answer that must be a good one."""
        self._writer.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = json.loads(await self._reader.readexactly(length))
        assert head.startswith(b"HTTP/1.1 200") and "errors" not in answer, (head, answer)
        return answer["data"]

    async def track(self, body: bytes, count: int) -> None:
        """Send a call's events, all of which must be accepted."""
        told = (await self.ask(body))["trackEvents"]
        assert told["accepted"] == count, told


@dataclass
class Sent:
    """What one sender brought in."""

    events: int = 0
    milliseconds: list[float] = field(default_factory=list)  # until each call was acknowledged


def bodies(seed: int, prefix: str, size: int) -> Iterator[bytes]:
    """Calls of `size` events each, without end: ids of the sender's own, none twice; times of the last hour."""
    draw, now = random.Random(seed), datetime.now(UTC)  # noqa: S311 - no secret
    made = [_body(draw, now, f"{prefix}-{number}", size) for number in range(BODIES if size > 1 else 50 * BODIES)]
    for call in itertools.count():
        yield made[call % len(made)].replace(_PLACE, b"%012d" % call)


def _body(draw: random.Random, now: datetime, prefix: str, size: int) -> bytes:
    events = [_event(draw, now, f"{prefix}-{_PLACE.decode()}-{place}") for place in range(size)]
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


async def send(door: Door, calls: Iterator[bytes], size: int, lines: int, seconds: float, most: float) -> Sent:
    """Send one call after the other on each of `lines` connections, until the time is up or enough were sent."""
    sent, deadline = Sent(), time.monotonic() + seconds

    async def run() -> None:
        line = await Caller.opened(door)
        while time.monotonic() < deadline and sent.events < most:
            began = time.monotonic()
            await line.track(next(calls), size)
            sent.milliseconds.append((time.monotonic() - began) * 1000)
            sent.events += size

    await asyncio.gather(*(run() for _ in range(lines)))
    return sent
