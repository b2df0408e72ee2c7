"""A bulkhead has a bounded number of places and of callers who wait for one."""

import asyncio
from contextlib import suppress

import pytest

from core.bulkhead import Bulkhead


class Refused(Exception):
    """The bulkhead is full."""


def bulkhead(most: int, *, waiting: int = 100, patience: float = 60) -> Bulkhead:
    return Bulkhead(most, waiting=waiting, patience=patience, refuse=Refused)


class Work:
    """Counts who is inside, and waits for permission to leave."""

    def __init__(self, of: Bulkhead) -> None:
        self.of, self.inside, self.most = of, 0, 0
        self.order: list[int] = []
        self.may_leave = asyncio.Event()

    async def __call__(self, number: int = 0) -> None:
        async with self.of.place():
            self.order.append(number)
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.may_leave.wait()
            self.inside -= 1


async def test_no_more_callers_are_inside_than_there_are_places_and_the_others_follow_in_order() -> None:
    work = Work(bulkhead(3))
    callers = [asyncio.create_task(work(number)) for number in range(10)]
    await asyncio.sleep(0)
    assert (work.inside, work.of.waiting) == (3, 7)
    work.may_leave.set()
    await asyncio.gather(*callers)
    assert (work.most, work.order, work.of.waiting) == (3, list(range(10)), 0)


async def test_a_caller_beyond_those_who_may_wait_is_refused_at_once() -> None:
    work = Work(bulkhead(1, waiting=2))
    callers = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Refused):
        await work()
    work.may_leave.set()
    await asyncio.gather(*callers)
    await work()  # there is a place again


async def test_a_caller_is_refused_when_its_patience_ends() -> None:
    work = Work(bulkhead(1, patience=0.01))
    inside = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(Refused):
        await work()
    assert work.of.waiting == 0
    work.may_leave.set()
    await inside


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_caller_who_leaves_takes_no_place_with_it(cancelled: int) -> None:
    work = Work(bulkhead(1))
    callers = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0)
    callers[cancelled].cancel()
    with suppress(asyncio.CancelledError):
        await callers[cancelled]
    work.may_leave.set()
    await asyncio.gather(*(caller for caller in callers if caller is not callers[cancelled]))
    await work()
    assert work.of.waiting == 0


async def test_a_place_is_free_again_after_an_error() -> None:
    of = bulkhead(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"):
            async with of.place():
                raise ValueError("inside")
