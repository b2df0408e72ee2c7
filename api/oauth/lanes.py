"""Threads for blocking work, with a bounded queue before them."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from core.bulkhead import Bulkhead
from core.errors import Overloaded

Result = TypeVar("Result")

REQUEST_TIMEOUT = 12.0  # seconds the work may take; Postgres has its own, shorter timeouts


class Lane:
    """So many threads, and at most `most` pieces of work in them and in the queue before them.

    A caller may have a quarter of these places. Its other work, together at most `most`, waits where it takes none.
    """

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._most = most
        self.taken = 0
        self._callers: WeakValueDictionary[Hashable, Bulkhead] = WeakValueDictionary()  # those who have work now

    async def run(self, caller: Hashable, work: Callable[..., Result], *arguments: object) -> Result:
        """The result of `work(*arguments)`, done for `caller`.

        Raises Overloaded when the queue is full or too much work of this caller waits, TimeoutError, and its errors.
        """
        async with asyncio.timeout(REQUEST_TIMEOUT), self._share_of(caller).place():
            return await self._run(work, *arguments)

    def close(self) -> None:
        """Drop the work that waits; what runs goes on to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _share_of(self, caller: Hashable) -> Bulkhead:
        share = self._callers.get(caller)
        if share is None:
            most = self._most // 4
            share = Bulkhead(most, waiting=self._most - most, patience=REQUEST_TIMEOUT, refuse=Overloaded)
            self._callers[caller] = share
        return share

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        if self.taken >= self._most:
            raise Overloaded()
        self.taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self.taken -= 1
