"""Callers who want the same thing at the same time share one task."""

import asyncio
import gc

import pytest

from core.single_flight import SingleFlight


class Work:
    """Counts its runs and waits for permission to end."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.may_end = asyncio.Event()

    async def __call__(self, key: str) -> str:
        self.runs.append(key)
        await self.may_end.wait()
        return key.upper()


async def test_callers_of_one_key_share_one_run() -> None:
    work = Work()
    flight = SingleFlight(work)
    callers = [asyncio.create_task(flight.result(key)) for key in ("a", "a", "b")]
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*callers) == ["A", "A", "B"]
    assert work.runs == ["a", "b"]


async def test_a_result_is_not_kept() -> None:
    work = Work()
    work.may_end.set()
    flight = SingleFlight(work)
    assert [await flight.result("a"), await flight.result("a")] == ["A", "A"]
    assert work.runs == ["a", "a"]


async def test_a_caller_that_is_cancelled_does_not_cancel_the_others() -> None:
    work = Work()
    flight = SingleFlight(work)
    leaves, stays = (asyncio.create_task(flight.result("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    work.may_end.set()
    assert await stays == "A" and leaves.cancelled() and work.runs == ["a"]


async def test_a_caller_waits_only_for_its_time_limit_and_the_work_goes_on() -> None:
    work = Work()
    flight = SingleFlight(work)
    assert await flight.result_within("a", 0.01) is None
    work.may_end.set()
    assert await flight.result_within("a", None) == ("A",)
    assert work.runs == ["a"]


async def test_an_error_reaches_every_caller_and_the_next_call_tries_again() -> None:
    runs = []

    async def fail(key: str) -> str:
        runs.append(key)
        raise ValueError(key)

    flight = SingleFlight(fail)
    errors = await asyncio.gather(flight.result("a"), flight.result("a"), return_exceptions=True)
    assert [repr(error) for error in errors] == ["ValueError('a')"] * 2
    with pytest.raises(ValueError, match="a"):
        await flight.result_within("a", 1.0)
    assert runs == ["a", "a"]


async def test_an_error_without_a_waiting_caller_is_not_reported_by_asyncio() -> None:
    async def fail(key: str) -> str:
        raise ValueError(key)

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    await asyncio.wait([SingleFlight(fail).start("a")])
    gc.collect()
    assert reported == []


async def test_cancelled_tasks_end() -> None:
    flight = SingleFlight(Work())
    started = flight.start("a")
    await asyncio.sleep(0)
    assert flight.cancel() == {started}
    await asyncio.wait([started])
    assert started.cancelled() and flight.cancel() == set()
