"""Single events beside queries at a steady pace: how long until each is acknowledged, stored and known."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.event_calls import PEOPLE, TRACK, AsyncConnection, GatewayAddress, bodies
from core import clock
from core.sources import client_source
from db.postgres import connect_pool

SECONDS = 60
EVENTS, QUERIES, CHECKS = 297, 27, 3  # a second; a check is an order of a new person, then a query about this person
CONNECTIONS = 64
POLL = 0.005  # seconds between queries for stored events
Ask = Callable[[bytes], Awaitable[Any]]
LIST = "query($id: ID!) { user(id: $id) { recommendations(first: 10) { edges { rank node { id } } } } }"
ORDERS = "query($id: ID!) { user(id: $id) { rfm { frequency } } }"


@dataclass(frozen=True, slots=True)
class PacedTimes:
    """(median, 99th percentile) in milliseconds, and the share of answers that included the event just before."""

    events: int
    accept: tuple[float, float]
    visible: tuple[float, float]
    query: tuple[float, float]
    known: float


@dataclass
class _Times:
    due: dict[str, float] = field(default_factory=dict)  # when each event was due, by its id, until it is visible
    visible: list[float] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    query: list[float] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)


async def measure_at_steady_pace(address: GatewayAddress, url: str, seed: int) -> PacedTimes:
    """Send and ask for a minute; `url` is that of Postgres."""
    times, idle = _Times(), asyncio.Queue[AsyncConnection]()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await AsyncConnection.opened(address))

    async def ask(body: bytes) -> Any:
        connection = await idle.get()
        try:
            return await connection.ask(body)
        finally:
            idle.put_nowait(connection)

    calls = bodies(seed, "calm", 1)
    watching = asyncio.create_task(_watch(url, times))
    await asyncio.gather(
        _paced(EVENTS, lambda number, due: _event(ask, next(calls), due, times)),
        _paced(QUERIES, lambda number, due: _query(ask, number, due, times)),
        _paced(CHECKS, lambda number, due: _check(ask, number, due, times)),
    )
    await asyncio.wait_for(watching, 60)
    accept, visible, query = (_quantiles(some) for some in (times.accept, times.visible, times.query))
    return PacedTimes(len(times.visible), accept, visible, query, float(np.mean(times.known)))


async def _paced(a_second: int, act: Callable[[int, float], Awaitable[None]]) -> None:
    """Start that many actions a second, evenly, without waiting for earlier ones; each receives its due time."""
    began, tasks = time.monotonic(), list[asyncio.Future[None]]()
    for number in range(a_second * SECONDS):
        due = began + number / a_second
        await asyncio.sleep(due - time.monotonic())
        tasks.append(asyncio.ensure_future(act(number, due)))
    await asyncio.gather(*tasks)


async def _event(ask: Ask, body: bytes, due: float, times: _Times) -> None:
    times.due[json.loads(body)["variables"]["events"][0]["id"]] = due
    answer = await ask(body)
    assert answer["trackEvents"]["accepted"] == 1, answer
    times.accept.append(_since(due))


async def _query(ask: Ask, number: int, due: float, times: _Times) -> None:
    await ask(_question(LIST, f"person-{number * 7919 % PEOPLE}"))
    times.query.append(_since(due))


async def _check(ask: Ask, number: int, due: float, times: _Times) -> None:
    """Whether the answer right after an order includes the order."""
    event = {"id": f"calm-check-{number:06d}", "type": "PURCHASE", "occurredAt": clock.now().isoformat(),
             "userId": f"new-{number}", "itemId": "item-1", "orderId": f"new-{number}"}  # fmt: skip
    await _event(ask, json.dumps({"query": TRACK, "variables": {"events": [event]}}).encode(), due, times)
    answer = await ask(_question(ORDERS, event["userId"]))
    times.known.append((answer["user"]["rfm"] or {}).get("frequency") == 1)


def _question(query: str, id: str) -> bytes:
    return json.dumps({"query": query, "variables": {"id": id}}).encode()


async def _watch(url: str, times: _Times) -> None:
    """Poll Postgres until every event of the run is stored."""
    everything = (EVENTS + CHECKS) * SECONDS
    async with await connect_pool(url, size=1) as pool:
        while len(times.visible) < everything:
            await asyncio.sleep(POLL)
            waiting = list(times.due)
            rows = await pool.fetch(
                "SELECT id FROM events WHERE source = $1 AND id = ANY($2::text[])", client_source("benchmark"), waiting
            )
            times.visible += [_since(times.due.pop(row["id"])) for row in rows]


def _since(due: float) -> float:
    return (time.monotonic() - due) * 1000


def _quantiles(times: list[float]) -> tuple[float, float]:
    return float(np.median(times)), float(np.quantile(times, 0.99))
