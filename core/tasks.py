"""Tasks of an event loop are ended reliably."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

CANCEL_INTERVAL: Final = 1.0  # seconds between cancellations of a task


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
