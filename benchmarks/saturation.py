"""Latency of personalized answers at 70 % of the most that one gateway answers, beside a writer of events.

Callers are independent: their requests come at random moments (a Poisson process), whether earlier ones are answered or
not. Half of the people asked for are few and come often, so that most lists are kept; the writer's events make some of
them anew.

The most is the highest rate of such requests that the gateway keeps up with, beside the same writer: those of the last
second of a step do not wait long. It lies around what closed callers get, and is found by halving. While the gateway
keeps up no more, it answers many at a time, and each costs less CPU than one that comes alone (`alone_cpu_us`): so
`busy_at_70`, how busy the gateway really is at the share, is more than .7, also because of the writer.

The gateway has a core of its own. The stores, the workers and the callers of this benchmark share the others, as in a
load test from another machine: they would take turns with what is measured otherwise. `loop_wait_at_70` is how long its
event loop waited for its core all the same. `late_p99_ms` is how late the callers start, which is a part of
`p99_ms_at_70`.

`p99_answers_at_70` does not depend on how fast the machine is: the 99th percentile in times that an answer takes of the
CPU. Its reference is what the best first-come, first-served queue would have, which is as busy and has nothing else to
do: it is simulated, with answers that cost what one caller alone measures, in the same proportions.
"""

import asyncio
import json
import multiprocessing
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.event_calls import TRACK, AsyncConnection, GatewayAddress
from benchmarks.figures import Figure
from benchmarks.processes import alone_on_a_core, listening_process, running_seconds, waiting_seconds
from benchmarks.shop import Shop
from core import clock

WARM_UP, CALM, ALONE, STEP, SECONDS = 6.0, 3.0, 5.0, 5.0, 30.0  # seconds
SHARE: Final = 0.7
CALLERS = 16  # closed ones, of the warm-up: each sends its next request when it has its answer
RANGE: Final = 0.4, 1.2  # of what they get: the most is looked for here
STEPS: Final = 5  # halve that range so often: to one fortieth
KEPT_UP: Final = 0.1  # seconds that a request of the last second takes, in the middle, of a gateway that keeps up
CONNECTIONS = 128
MOST_IDLE: Final = 3.0  # seconds; the gateway closes a connection after 5
EVENTS = 100  # a second
FEW = 20  # people who are asked for as often as all others together
LIMIT_MS = 10.0
ANSWER_TIMEOUT = 30.0  # seconds


class Times(NamedTuple):
    """Of each request: the second when it was due, the milliseconds it took since then, and those until it started."""

    due: NDArray[np.float64]
    took: NDArray[np.float64]
    late: NDArray[np.float64]

    @classmethod
    def of(cls, times: Sequence[tuple[float, float, float]]) -> "Times":
        """From one row for each request."""
        return cls(*np.array(times).T)

    def kept_up(self, seconds: float) -> bool:
        """Whether the requests of the last of so many seconds did not wait for long."""
        last = self.took[self.due >= seconds - 1]
        return bool(np.median(last) < KEPT_UP * 1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """The most answers a second, what one caller alone waited for each answer, and the times at the share.

    Of the gateway: the CPU seconds of an answer to one caller alone and at the share, without those for the writer; its
    CPU seconds in a second at the share, and those for the writer alone; and how long its event loop waited for a core.
    """

    most: float
    alone: NDArray[np.float64]
    alone_cpu: float
    answer_cpu: float
    busy: float
    for_writer: float
    loop_wait: float
    times: Times


def p99_at_share(found: Shop, query: str, seed: int) -> dict[str, Figure]:
    """The figures of this module, from a process of its own: it would wait for the interpreter here otherwise."""
    address = GatewayAddress(found.client.base_url, found.client.token())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: Measured = pool.apply(measure, (address, query, found.users, seed))
    times, answer_ms = measured.times, measured.answer_cpu * 1e3
    p99 = float(np.quantile(times.took, 0.99))
    low, high = _interval(times.due, times.took, seed)
    reference = f"{SHARE:.0%} of {measured.most:,.0f} answers a second, {EVENTS} events a second; limit {LIMIT_MS:g} ms"
    queue = _p99_of_queue(measured.alone, measured.busy, seed)
    return {
        "p99_ms_at_70": Figure(p99, "ms", low, high, reference),
        "p50_ms_at_70": Figure(float(np.median(times.took)), "ms"),
        "p99_answers_at_70": Figure(
            p99 / answer_ms, "answers", low / answer_ms, high / answer_ms, f"a queue as busy: {queue:.1f}"
        ),
        "busy_at_70": Figure(measured.busy, "", reference="CPU seconds of the gateway in a second"),
        "busy_for_writer": Figure(measured.for_writer, "", reference="the same beside the writer alone"),
        "loop_wait_at_70": Figure(measured.loop_wait, "", reference="seconds that its event loop waits for a core"),
        "late_p99_ms": Figure(float(np.quantile(times.late, 0.99)), "ms", reference="of these the callers' own"),
        "answer_cpu_us": Figure(measured.answer_cpu * 1e6, "us", reference="the gateway's CPU for an answer at 70 %"),
        "alone_cpu_us": Figure(measured.alone_cpu * 1e6, "us", reference="the same with one caller alone"),
        "answers_per_s": Figure(measured.most, "1/s", reference=f"the most of one gateway beside {EVENTS} events/s"),
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


def _p99_of_queue(costs: NDArray[np.float64], busy: float, seed: int, requests: int = 200_000) -> float:
    """The 99th percentile of the time in a queue that is so busy, in mean costs of a request: M/G/1, simulated."""
    draw = np.random.default_rng(seed)
    costs = draw.choice(costs / costs.mean(), requests)
    steps = np.concatenate([[0.0], costs[:-1] - draw.exponential(1 / busy, requests - 1)])
    level = np.cumsum(steps)
    waits = level - np.minimum.accumulate(level)
    return float(np.quantile(waits + costs, 0.99))


class _Traffic:
    """Queries and events, from one process."""

    def __init__(self, address: GatewayAddress, query: str, users: Sequence[str], seed: int) -> None:
        self._address, self._users = address, list(users)
        self._gateway = 0
        self._draw = random.Random(seed)  # noqa: S311 - no secret
        self._bodies = {user: _body(query, id=user) for user in users}
        self._events = count()

    async def measure(self) -> Measured:
        """Close the loop for some seconds, then open it."""
        self._gateway = listening_process(urlsplit(self._address.base_url).port or 80)
        with alone_on_a_core(self._gateway):
            writing = asyncio.create_task(self._write(await AsyncConnection.opened(self._address)))
            try:
                measured = await self._measure_beside_the_writer()
            finally:
                writing.cancel()
                await asyncio.wait({writing})
            if not writing.cancelled():
                writing.result()  # an event was not accepted
        return measured

    async def _measure_beside_the_writer(self) -> Measured:
        await self._ask_for_everybody()
        closed = await self._closed(CALLERS, WARM_UP)
        before, began = running_seconds(self._gateway), monotonic()
        await asyncio.sleep(CALM)
        for_writer = (running_seconds(self._gateway) - before) / (monotonic() - began)
        before, began = running_seconds(self._gateway), monotonic()
        alone = await self._closed(1, ALONE)
        of_alone = running_seconds(self._gateway) - before - for_writer * (monotonic() - began)
        most = await self._most(len(closed) / WARM_UP)
        before, waited, began = running_seconds(self._gateway), waiting_seconds(self._gateway), monotonic()
        times = await self._open(SHARE * most, SECONDS)
        seconds = monotonic() - began
        busy = (running_seconds(self._gateway) - before) / seconds
        return Measured(
            most,
            np.array(alone),
            of_alone / len(alone),
            (busy - for_writer) * seconds / len(times.due),
            busy,
            for_writer,
            (waiting_seconds(self._gateway) - waited) / seconds,
            times,
        )

    async def _ask_for_everybody(self) -> None:
        """Ask for each person once: the first answer reads all events of the person from Postgres."""
        (connection,) = await self._connections(1)
        for body in self._bodies.values():
            await connection.ask(body)
        connection.close()

    async def _most(self, closed: float) -> float:
        """The highest rate that the gateway keeps up with. A rate that it does not is tried twice."""
        low, high = (share * closed for share in RANGE)
        for _ in range(STEPS):
            rate = (low + high) / 2
            if await self._keeps_up(rate) or await self._keeps_up(rate):
                low = rate
            else:
                high = rate
        return low

    async def _keeps_up(self, rate: float) -> bool:
        return (await self._open(rate, STEP)).kept_up(STEP)

    async def _closed(self, callers: int, seconds: float) -> list[float]:
        """The seconds of each answer to so many callers, within some seconds."""
        until, took = monotonic() + seconds, list[float]()

        async def call(connection: AsyncConnection) -> None:
            while (began := monotonic()) < until:
                await self._ask(connection)
                took.append(monotonic() - began)

        await asyncio.gather(*map(call, await self._connections(callers)))
        return took

    async def _connections(self, number: int) -> list[AsyncConnection]:
        return [await AsyncConnection.opened(self._address) for _ in range(number)]

    async def _open(self, rate: float, seconds: float) -> Times:
        """Send `rate` requests a second at random moments; none waits for an earlier one's answer."""
        idle, times = asyncio.Queue[tuple[AsyncConnection, float]](), list[tuple[float, float, float]]()
        for connection in await self._connections(CONNECTIONS):
            idle.put_nowait((connection, monotonic()))
        began = monotonic()

        async def call(due: float) -> None:
            connection, idle_since = await idle.get()
            if monotonic() - idle_since > MOST_IDLE:
                connection.close()
                connection = await AsyncConnection.opened(self._address)
            started = monotonic()
            await self._ask(connection)
            times.append((due, (monotonic() - began - due) * 1000, (started - began - due) * 1000))
            idle.put_nowait((connection, monotonic()))

        await _started_when_due(began, self._moments(rate, seconds), call)
        while not idle.empty():
            idle.get_nowait()[0].close()
        return Times.of(times)

    async def _ask(self, connection: AsyncConnection) -> None:
        """Ask for a list. The answer is not decoded: that would be the caller's time, not the gateway's."""
        answer = await connection.text(self._next())
        assert answer.startswith(b'{"data":') and b'"errors"' not in answer, answer[:300]

    async def _write(self, connection: AsyncConnection) -> None:
        """Report views of the same people, one event a call."""
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
