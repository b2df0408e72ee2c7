"""Runs long computations of requests in a thread of their own, so that the event loop stays free for other callers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from core.errors import Overloaded

MAX_WAITING = 32  # computations, the one that runs included

ResultT = TypeVar("ResultT")


class SlowWork:
    """One thread, and a bounded queue before it: Python runs one computation at a time in any case."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, "slow-work")
        self._waiting: set[Future[Any]] = set()
        self._max_waiting = max_waiting

    async def run(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """What the function returns or raises; raises Overloaded when too many computations wait already."""
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        future = self._thread.submit(function, *arguments)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return await asyncio.wrap_future(future)
