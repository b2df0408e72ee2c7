"""Blocks with a deadline: one timer for all of them ends those that run too long, and nothing else."""

import asyncio

import pytest

from core.coarse_timers import TICK, Deadline, TimedBlock


async def overrun(seconds: float) -> None:
    with Deadline(seconds):
        await asyncio.Event().wait()


def test_a_block_that_runs_too_long_is_cancelled_with_timeout_error() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            await overrun(0.05)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        return loop.time() - began

    assert 0.05 <= asyncio.run(run()) < 2


def test_a_block_that_ends_before_is_left_alone() -> None:
    async def run() -> None:
        with Deadline(TICK):
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):  # after its end, the timer has run once more
            await overrun(3 * TICK)

    asyncio.run(run())


def test_only_the_block_that_is_due_is_cancelled() -> None:
    async def run() -> tuple[list[object], str]:
        over = asyncio.Event()

        async def other() -> str:
            with Deadline(60):
                await over.wait()
                return "done"

        waiting = asyncio.create_task(other())
        ended = await asyncio.gather(overrun(0), overrun(2 * TICK), return_exceptions=True)
        over.set()
        return list(ended), await waiting

    ended, other = asyncio.run(run())
    assert [type(error) for error in ended] == [TimeoutError, TimeoutError]
    assert other == "done"


def test_a_block_that_fails_to_act_leaves_the_others_their_deadlines() -> None:
    class Failing(TimedBlock):
        def act(self) -> None:
            raise RuntimeError("cannot act")

    async def run() -> list[object]:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        with Failing(0):
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await overrun(TICK)
        return reported

    assert [str(error) for error in asyncio.run(run())] == ["cannot act"]


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def run() -> None:
        task = asyncio.create_task(overrun(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_the_timer_stops_when_no_block_runs_and_begins_again_in_the_next_loop() -> None:
    class Noting(TimedBlock):
        def __init__(self) -> None:
            super().__init__(0)
            self.acted = asyncio.Event()

        def act(self) -> None:
            self.acted.set()

    async def run() -> None:
        with Noting() as block:
            async with asyncio.timeout(10):
                await block.acted.wait()

    for _ in range(3):
        asyncio.run(run())
