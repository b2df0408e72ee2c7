"""Tasks of an event loop: shared by several callers, and ended reliably."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

Found = TypeVar("Found")

CANCEL_INTERVAL: Final = 1.0  # seconds between cancellations of a task


def start_shared(work: Coroutine[Any, Any, Found]) -> asyncio.Task[Found]:
    """A task that several callers may await. asyncio does not report its error when none of them is left."""
    task = asyncio.create_task(work)
    task.add_done_callback(_retrieve)
    return task


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and return when all have ended, with or without an error.

    They are cancelled again as long as they run: before Python 3.12 `asyncio.wait_for` (redis-py's way of sending)
    loses a cancellation that arrives just when the awaited work ends (python/cpython#86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_INTERVAL)
        await asyncio.gather(*ended, return_exceptions=True)
