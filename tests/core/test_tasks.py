"""Tasks of an event loop are ended reliably."""

import asyncio

from core.tasks import end


async def test_a_task_that_loses_its_first_cancellation_ends_all_the_same() -> None:
    lost = asyncio.Event()

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost.is_set():
                    raise
                lost.set()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end([task])
    assert lost.is_set() and task.cancelled()


async def test_ending_a_task_that_failed_raises_nothing() -> None:
    async def fails() -> None:
        raise ValueError

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    await end([task])
    await end([])
