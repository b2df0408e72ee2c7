"""Long computing takes turns: the event loop goes round in between, and no request waits for all pieces of another."""

import asyncio
from collections import Counter

import pytest

from core import turns as module
from core.turns import OneAtATime, Turns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds computed so far, which a piece adds to."""
    seconds = [0.0]
    monkeypatch.setattr(module, "thread_time", lambda: seconds[0])
    return seconds


class Rounds:
    """Counts the rounds of the event loop."""

    def __init__(self) -> None:
        self.count, self._loop = 0, asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def test_after_enough_computing_the_next_piece_waits_for_another_round(clock: list[float]) -> None:
    turns, rounds, computed = Turns(), Rounds(), Counter[int]()

    async def compute(seconds: float) -> None:
        await turns.take("a caller")
        clock[0] += seconds
        computed[rounds.count] += round(1_000_000 * seconds)

    await asyncio.gather(*(compute(module.MOST * size) for size in (0.5, 0.1, 0.9, 1) for _ in range(10)))
    rounds.stop()
    assert computed.total() == 25_000_000 * module.MOST
    assert max(computed.values()) < 2_000_000 * module.MOST


async def test_a_request_with_many_pieces_does_not_hold_up_one_with_few(clock: list[float]) -> None:
    turns, order = Turns(), list[str]()

    async def compute(request: OneAtATime, name: str) -> None:
        async with request:
            clock[0] += module.MOST
            order.append(name)

    greedy, light = OneAtATime(turns, "a"), OneAtATime(turns, "b")
    await asyncio.gather(*(compute(greedy, "greedy") for _ in range(30)), compute(light, "light"))
    assert order.index("light") <= 5
    assert len(order) == 31


async def test_the_callers_have_their_turns_one_after_the_other(clock: list[float]) -> None:
    turns, order = Turns(), list[str]()

    async def compute(caller: str, seconds: float) -> None:
        await turns.take(caller)
        clock[0] += seconds
        order.append(caller)

    sizes = (0.3, 1.0, 2.0)
    greedy = [compute("greedy", module.MOST * sizes[n % 3]) for n in range(60)]
    await asyncio.gather(*greedy, compute("light", 0.001), compute("other", 0.001), compute("light", 0.001))
    assert sorted((order.index("light"), order.index("other")))[1] <= 10
    assert 60 - order[::-1].index("light") < 20  # the second piece, too
    assert len(order) == 63


async def test_a_piece_that_is_cancelled_leaves_the_line(clock: list[float]) -> None:
    turns = Turns()

    async def compute(caller: str) -> None:
        await turns.take(caller)
        clock[0] += module.MOST

    waiting = [asyncio.create_task(compute(caller)) for caller in ("b", "b", "c")]
    await asyncio.sleep(0)
    waiting[1].cancel()
    async with asyncio.timeout(5):
        await asyncio.wait(waiting)
        await turns.take("a")
    assert [task.cancelled() for task in waiting] == [False, True, False]
    assert turns._waiting == {}


async def test_a_piece_that_is_cancelled_lets_the_next_one_begin(clock: list[float]) -> None:
    request = OneAtATime(Turns(), "a")
    async with request:
        clock[0] += module.MOST
        waits = asyncio.create_task(request.__aenter__())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
    async with asyncio.timeout(5), request:
        pass
