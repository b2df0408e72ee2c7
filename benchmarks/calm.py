"""Events one by one beside queries, at a steady pace: how long until each is acknowledged, stored, known."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.till import PEOPLE, TRACK, Caller, Door, bodies
from core import clock
from db.postgres import connect_pool

SECONDS = 60
EVENTS, QUERIES, CHECKS = 297, 27, 3  # a second; a check is an order of somebody new, then a query about them
LINES = 64
LOOK = 0.005  # seconds between looks into Postgres
Ask = Callable[[bytes], Awaitable[Any]]
LIST = "query($id: ID!) { user(id: $id) { recommendations(first: 10) { edges { rank node { id } } } } }"
ORDERS = "query($id: ID!) { user(id: $id) { rfm { frequency } } }"


@dataclass(frozen=True, slots=True)
class Calm:
    """Medians and 99th percentiles in milliseconds, and the share of answers that knew of the event before."""

    events: int
    accept: tuple[float, float]
    visible: tuple[float, float]
    query: tuple[float, float]
    known: float


@dataclass
class _Seen:
    began: dict[str, float] = field(default_factory=dict)  # when each event was due, by its id
    visible: list[float] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    query: list[float] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)


async def calm(door: Door, url: str, seed: int) -> Calm:
    """Send and ask for a minute."""
    seen, lines = _Seen(), asyncio.Queue[Caller]()
    for _ in range(LINES):
        lines.put_nowait(await Caller.opened(door))

    async def ask(body: bytes) -> Any:
        line = await lines.get()
        try:
            return await line.ask(body)
        finally:
            lines.put_nowait(line)

    calls = bodies(seed, "calm", 1)
    watching = asyncio.create_task(_watch(url, seen))
    await asyncio.gather(
        _paced(EVENTS, lambda number, due: _event(ask, next(calls), due, seen)),
        _paced(QUERIES, lambda number, due: _query(ask, number, due, seen)),
        _paced(CHECKS, lambda number, due: _check(ask, number, due, seen)),
    )
    await asyncio.wait_for(watching, 60)
    accept, visible, query = (_quantiles(times) for times in (seen.accept, seen.visible, seen.query))
    return Calm(len(seen.visible), accept, visible, query, float(np.mean(seen.known)))


async def _paced(a_second: int, act: Callable[[int, float], Awaitable[None]]) -> None:
    """Begin so many a second, evenly, whether or not the earlier ones are done; each is told when it was due."""
    began, tasks = time.monotonic(), list[asyncio.Future[None]]()
    for number in range(a_second * SECONDS):
        due = began + number / a_second
        await asyncio.sleep(due - time.monotonic())
        tasks.append(asyncio.ensure_future(act(number, due)))
    await asyncio.gather(*tasks)


async def _event(ask: Ask, body: bytes, due: float, seen: _Seen) -> None:
    seen.began[json.loads(body)["variables"]["events"][0]["id"]] = due
    told = await ask(body)
    assert told["trackEvents"]["accepted"] == 1, told
    seen.accept.append(_since(due))


async def _query(ask: Ask, number: int, due: float, seen: _Seen) -> None:
    await ask(_question(LIST, f"person-{number * 7919 % PEOPLE}"))
    seen.query.append(_since(due))


async def _check(ask: Ask, number: int, due: float, seen: _Seen) -> None:
    """Whether the answer after an order knows of it."""
    event = {"id": f"calm-check-{number:06d}", "type": "PURCHASE", "occurredAt": clock.now().isoformat(),
             "userId": f"new-{number}", "itemId": "item-1", "orderId": f"new-{number}"}  # fmt: skip
    await _event(ask, json.dumps({"query": TRACK, "variables": {"events": [event]}}).encode(), due, seen)
    told = await ask(_question(ORDERS, event["userId"]))
    seen.known.append((told["user"]["rfm"] or {}).get("frequency") == 1)


def _question(query: str, id: str) -> bytes:
    return json.dumps({"query": query, "variables": {"id": id}}).encode()


async def _watch(url: str, seen: _Seen) -> None:
    """Look into Postgres again and again until every event that was sent is there."""
    everything = (EVENTS + CHECKS) * SECONDS
    async with await connect_pool(url, size=1) as pool:
        while len(seen.visible) < everything:
            await asyncio.sleep(LOOK)
            waiting = list(seen.began)
            rows = await pool.fetch(
                "SELECT id FROM events WHERE source = 'benchmark' AND id = ANY($1::text[])", waiting
            )
            seen.visible += [_since(seen.began.pop(row["id"])) for row in rows]


def _since(due: float) -> float:
    return (time.monotonic() - due) * 1000


def _quantiles(times: list[float]) -> tuple[float, float]:
    return float(np.median(times)), float(np.quantile(times, 0.99))
