"""Tasks of an event loop, ended for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

ASK_AGAIN: Final = 1.0  # seconds a task has for its own cleaning up


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these and return when they have ended, however they ended.

    They are cancelled again as long as they run: before Python 3.12 `asyncio.wait_for` (redis-py's way of sending)
    loses a cancellation that meets the end of what it waits for (python/cpython#86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=ASK_AGAIN)
        await asyncio.gather(*ended, return_exceptions=True)
