"""Bulkheads: one kind of work has its own bounded number of places, so that it cannot take those of another kind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Bulkhead:
    """At most `most` callers have a place at a time. At most `waiting` others wait for one, in their order.

    A caller beyond these, and one that has waited for `patience` seconds, gets the error that `refuse` makes.
    """

    def __init__(self, most: int, *, waiting: int, patience: float, refuse: Callable[[], Exception]) -> None:
        self._places = asyncio.Semaphore(most)
        self._most_waiting, self._patience, self._refuse = waiting, patience, refuse
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for a block."""
        await self._enter()
        try:
            yield
        finally:
            self._places.release()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # at once
            return
        if self.waiting >= self._most_waiting:
            raise self._refuse()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise self._refuse() from None
        finally:
            self.waiting -= 1


class CallerBulkheads:
    """A bulkhead for each caller, made when the caller needs one and dropped when nobody uses it any more."""

    def __init__(self, make: Callable[[], Bulkhead]) -> None:
        self._make = make
        self._used: WeakValueDictionary[Hashable, Bulkhead] = WeakValueDictionary()

    def of(self, caller: Hashable) -> Bulkhead:
        """The bulkhead of this caller."""
        own = self._used.get(caller)
        if own is None:
            own = self._used[caller] = self._make()
        return own
