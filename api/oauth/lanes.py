"""Threads for blocking work, with a bounded queue before them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.errors import Overloaded

Result = TypeVar("Result")

REQUEST_TIMEOUT = 12.0  # seconds the work may take; Postgres has its own, shorter timeouts


class Lane:
    """So many threads, and at most `most` pieces of work in them and in the queue before them."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._most = most
        self.taken = 0

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """The result of `work(*arguments)`. Raises Overloaded when the queue is full, TimeoutError, and its errors."""
        if self.taken >= self._most:
            raise Overloaded()
        self.taken += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self.taken -= 1

    def close(self) -> None:
        """Drop the work that waits; what runs goes on to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
