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


async def test_the_last_caller_who_leaves_cancels_the_work_that_nobody_wants() -> None:
    work = Work()
    flight = SingleFlight(work)
    callers = [asyncio.create_task(flight.result_while_wanted("a")) for _ in range(2)]
    await asyncio.sleep(0)
    task = flight._running["a"].task
    callers[0].cancel()
    await asyncio.wait([callers[0]])
    assert not task.cancelling()
    callers[1].cancel()
    await asyncio.wait([*callers, task])
    assert task.cancelled() and flight.cancel() == set()


async def test_work_that_others_want_too_goes_on_when_a_caller_leaves() -> None:
    work = Work()
    flight = SingleFlight(work)
    for also_wanted_by in (flight.start, lambda key: asyncio.create_task(flight.result(key))):
        work.may_end.clear()
        leaves = asyncio.create_task(flight.result_while_wanted("a"))
        await asyncio.sleep(0)
        stays = also_wanted_by("a")
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait([leaves])
        work.may_end.set()
        assert await stays == "A"
    assert work.runs == ["a", "a"]


async def test_work_that_takes_long_goes_on_for_those_who_ask_later() -> None:
    work = Work()
    flight = SingleFlight(work)
    assert await flight.result_while_wanted("a", 0.01) is None
    leaves = asyncio.create_task(flight.result_while_wanted("a"))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    work.may_end.set()
    assert await flight.result_while_wanted("a") == ("A",)
    assert work.runs == ["a"]


async def test_a_caller_who_comes_while_the_work_is_cancelled_gets_work_of_its_own() -> None:
    runs: list[str] = []

    async def ends_slowly(key: str) -> str:
        runs.append(key)
        try:
            await asyncio.sleep(0 if len(runs) > 1 else 60)
        finally:
            await asyncio.sleep(0.01)
        return key.upper()

    flight = SingleFlight(ends_slowly)
    leaves = asyncio.create_task(flight.result_while_wanted("a"))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    assert await flight.result_while_wanted("a") == ("A",)
    assert runs == ["a", "a"]
    await asyncio.gather(*flight.cancel(), return_exceptions=True)


async def test_an_error_reaches_every_caller_who_wants_the_work() -> None:
    async def fail(key: str) -> str:
        raise ValueError(key)

    flight = SingleFlight(fail)
    wanted = [flight.result_while_wanted("a") for _ in range(2)]
    errors = await asyncio.gather(*wanted, return_exceptions=True)
    assert [repr(error) for error in errors] == ["ValueError('a')"] * 2
