"""Runs long computations of requests in a thread of their own, so that the event loop stays free for other callers."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import Overloaded, RateLimited

MAX_WAITING = 32  # computations, the one that runs included
CALLER_PLACES, CALLER_WAITING = 2, 64  # computations of one caller in the queue, and others that wait before it
CALLER_PATIENCE = 4.0  # seconds

ResultT = TypeVar("ResultT")


class SlowWork:
    """One thread, and a bounded queue before it: Python runs one computation at a time in any case.

    Each caller has few places in the queue, so that no caller can fill it.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, "slow-work")
        self._waiting: set[Future[Any]] = set()
        self._max_waiting = max_waiting
        self._callers = CallerBulkheads(
            partial(Bulkhead, CALLER_PLACES, waiting=CALLER_WAITING, patience=CALLER_PATIENCE, refuse=RateLimited)
        )

    async def run(self, caller: Hashable, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """What the function returns or raises.

        Raises Overloaded when too many computations wait already, RateLimited when too many of this caller do.
        """
        async with self._callers.of(caller).place():
            return await self._run(function, *arguments)

    async def _run(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        future = self._thread.submit(function, *arguments)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return await asyncio.wrap_future(future)
