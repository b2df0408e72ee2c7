"""Latency of personalized answers at 70 % of the most that one gateway answers, beside a writer of events.

Callers are independent: their requests come at random moments, whether earlier ones are answered or not. Half of the
people asked for are few and come often, so that most lists are kept; the writer's events make some of them anew.

The most is what closed callers get: they come together, so one round of the gateway's event loop serves many of them.
Callers at random moments (a Poisson process) come one by one, and an answer may cost more CPU: `busy_at_70` says how
busy the gateway really is at the share. Even one server that does nothing else, with answers that all cost the same,
lets one of a hundred such callers wait for more than 6 answers at 70 % (M/D/1). `late_p99_ms` is how late the callers
of this benchmark start, which is a part of `p99_ms_at_70`.
"""

import asyncio
import json
import multiprocessing
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.event_calls import TRACK, AsyncConnection, GatewayAddress
from benchmarks.figures import Figure
from benchmarks.processes import listening_process, running_seconds
from benchmarks.shop import Shop
from core import clock

WARM_UP, SEARCH, SECONDS = 5.0, 12.0, 30.0  # seconds: of closed callers, thrown away; to find the most; at the share
SHARE: Final = 0.7
CALLERS = 16  # each sends its next request when it has its answer: so many find the most
CONNECTIONS = 128
EVENTS = 100  # a second
FEW = 20  # people who are asked for as often as all others together
LIMIT_MS = 10.0
ANSWER_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """The most answers a second, and of each request at the share: the second when it was due, milliseconds it took.

    Of the gateway: the CPU seconds of an answer at the most, and its CPU seconds per second at the share. `late` are
    the milliseconds that each request was started too late.
    """

    most: float
    answer_cpu: float
    busy: float
    due: list[float]
    milliseconds: list[float]
    late: list[float]


def p99_at_share(found: Shop, query: str, seed: int) -> dict[str, Figure]:
    """The figures of this module, from a process of its own: it would wait for the interpreter here otherwise."""
    address = GatewayAddress(found.client.base_url, found.client.token())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: Measured = pool.apply(measure, (address, query, found.users, seed))
    times = np.array(measured.milliseconds)
    low, high = _interval(np.array(measured.due), times, seed)
    reference = f"{SHARE:.0%} of {measured.most:,.0f} answers a second, {EVENTS} events a second; limit {LIMIT_MS:g} ms"
    return {
        "p99_ms_at_70": Figure(float(np.quantile(times, 0.99)), "ms", low, high, reference),
        "p50_ms_at_70": Figure(float(np.median(times)), "ms"),
        "busy_at_70": Figure(measured.busy, "", reference="CPU seconds of the gateway in a second"),
        "late_p99_ms": Figure(float(np.quantile(measured.late, 0.99)), "ms", reference="of these the callers' own"),
        "most_cpu_us": Figure(measured.answer_cpu * 1e6, "us", reference="the gateway's CPU for an answer at the most"),
        "answers_per_s": Figure(measured.most, "1/s", reference=f"one gateway, {CALLERS} callers, {EVENTS} events/s"),
    }


def measure(address: GatewayAddress, query: str, users: Sequence[str], seed: int) -> Measured:
    """Find the most, then send a share of it."""
    return uvloop.run(_Traffic(address, query, users, seed).measure())


def _interval(due: NDArray[np.float64], times: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95 % of the 99th percentile: whole seconds are drawn again, because neighbours wait for the same things."""
    draw, seconds = np.random.default_rng(seed), due.astype(int)
    parts = [times[seconds == second] for second in np.unique(seconds)]
    drawn = [
        np.quantile(np.concatenate([parts[at] for at in draw.integers(0, len(parts), len(parts))]), 0.99)
        for _ in range(500)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


class _Traffic:
    """Queries and events, from one process."""

    def __init__(self, address: GatewayAddress, query: str, users: Sequence[str], seed: int) -> None:
        self._address, self._users = address, list(users)
        self._draw = random.Random(seed)  # noqa: S311 - no secret
        self._bodies = {user: _body(query, id=user) for user in users}
        self._events = count()

    async def measure(self) -> Measured:
        """Close the loop for some seconds, then open it."""
        writing = asyncio.create_task(self._write(await AsyncConnection.opened(self._address)))
        gateway = listening_process(urlsplit(self._address.base_url).port or 80)
        try:
            callers = await self._connections(CALLERS)
            await self._closed(callers, WARM_UP)
            before = running_seconds(gateway)
            answers = await self._closed(callers, SEARCH)
            between, began = running_seconds(gateway), monotonic()
            due, milliseconds, late = await self._open(SHARE * answers / SEARCH)
            busy = (running_seconds(gateway) - between) / (monotonic() - began)
        finally:
            writing.cancel()
            await asyncio.wait({writing})
        if not writing.cancelled():
            writing.result()  # an event was not accepted
        return Measured(answers / SEARCH, (between - before) / answers, busy, due, milliseconds, late)

    async def _closed(self, connections: Sequence[AsyncConnection], seconds: float) -> int:
        """The number of answers within so many seconds."""
        until, answers = monotonic() + seconds, 0

        async def call(connection: AsyncConnection) -> None:
            nonlocal answers
            while monotonic() < until:
                await connection.ask(self._next())
                answers += 1

        await asyncio.gather(*map(call, connections))
        return answers

    async def _connections(self, number: int) -> list[AsyncConnection]:
        """New ones: the gateway closes one that is idle for some seconds."""
        return [await AsyncConnection.opened(self._address) for _ in range(number)]

    async def _open(self, rate: float) -> tuple[list[float], list[float], list[float]]:
        """Send `rate` requests a second at random moments; none waits for an earlier one's answer.

        Of each: the second when it was due, the milliseconds it took since then, and those until it was started.
        """
        idle, times = asyncio.Queue[AsyncConnection](), list[tuple[float, float, float]]()
        for connection in await self._connections(CONNECTIONS):
            idle.put_nowait(connection)
        began = monotonic()

        async def call(due: float) -> None:
            connection = await idle.get()
            started = monotonic()
            await connection.ask(self._next())
            times.append((due, (monotonic() - began - due) * 1000, (started - began - due) * 1000))
            idle.put_nowait(connection)

        await _started_when_due(began, self._moments(rate, SECONDS), call)
        due, milliseconds, late = map(list, zip(*times, strict=True))
        return due, milliseconds, late

    async def _write(self, connection: AsyncConnection) -> None:
        """Report views and orders of the same people, one event a call."""
        began, rate = monotonic(), EVENTS
        for number in self._events:
            await asyncio.sleep(began + number / rate - monotonic())
            user, item = self._draw.choice(self._users), str(self._draw.randrange(10_000))
            event = {"id": f"saturation-{clock.now().timestamp()}-{number}", "type": "VIEW", "userId": user}
            event |= {"itemId": item, "occurredAt": clock.now().isoformat()}
            await connection.track(_body(TRACK, events=[event]), 1)

    def _moments(self, rate: float, seconds: float) -> list[float]:
        """Seconds from now: a Poisson process."""
        moments, at = list[float](), self._draw.expovariate(rate)
        while at < seconds:
            moments.append(at)
            at += self._draw.expovariate(rate)
        return moments

    def _next(self) -> bytes:
        few = self._draw.random() < 0.5
        return self._bodies[self._draw.choice(self._users[:FEW] if few else self._users)]


async def _started_when_due(began: float, moments: Sequence[float], call: Callable[[float], Awaitable[None]]) -> None:
    tasks = list[asyncio.Future[None]]()
    for due in moments:
        if (wait := began + due - monotonic()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.ensure_future(call(due)))
    async with asyncio.timeout(ANSWER_TIMEOUT):
        await asyncio.gather(*tasks)


def _body(query: str, **variables: object) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()
