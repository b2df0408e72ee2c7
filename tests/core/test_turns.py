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
        await turns.take()
        clock[0] += seconds
        computed[rounds.count] += round(1000 * seconds)

    await asyncio.gather(*(compute(module.MOST * size) for size in (0.5, 0.1, 0.9, 1) for _ in range(10)))
    rounds.stop()
    assert computed.total() == 25_000 * module.MOST
    assert max(computed.values()) < 2000 * module.MOST


async def test_a_request_with_many_pieces_does_not_hold_up_one_with_few(clock: list[float]) -> None:
    turns, order = Turns(), list[str]()

    async def compute(request: OneAtATime, name: str) -> None:
        async with request:
            clock[0] += module.MOST
            order.append(name)

    greedy, light = OneAtATime(turns), OneAtATime(turns)
    await asyncio.gather(*(compute(greedy, "greedy") for _ in range(30)), compute(light, "light"))
    assert order.index("light") <= 5
    assert len(order) == 31


async def test_a_piece_that_is_cancelled_lets_the_next_one_begin(clock: list[float]) -> None:
    request = OneAtATime(Turns())
    async with request:
        clock[0] += module.MOST
        waits = asyncio.create_task(request.__aenter__())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
    async with asyncio.timeout(5), request:
        pass
