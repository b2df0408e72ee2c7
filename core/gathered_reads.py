"""Gathered reads: what many callers ask for one by one is read with few queries."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from core.cached_properties import CachedProperty

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class GatheredReads(Generic[Key, Found]):
    """Reads each key once, with one query at a time: keys asked for meanwhile are in the next one.

    For one request: what was found is kept. Every caller gets the error of the query that had its key. A caller that is
    cancelled while its query runs leaves the keys to the next one that waits.
    """

    def __init__(self, read: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Found]]]) -> None:
        self._read = read
        self._wanted: dict[Key, None] = {}
        self._found: dict[Key, Found | None] = {}
        self._failed: dict[Key, Exception] = {}

    @CachedProperty
    def _reading(self) -> asyncio.Lock:
        return asyncio.Lock()  # made when it is used: most of these are made and never asked

    async def get(self, key: Key) -> Found | None:
        """What is found for this key, None for nothing. Raises what `read` raises."""
        if key not in self._found and key not in self._failed:
            self._wanted[key] = None
            async with self._reading:
                if key in self._wanted:
                    await asyncio.sleep(0)  # callers of the same moment ask for their keys first
                    await self._read_wanted()
        if key in self._failed:
            raise self._failed[key]
        return self._found[key]

    async def _read_wanted(self) -> None:
        keys, self._wanted = list(self._wanted), {}
        try:
            found = await self._read(keys)
        except Exception as error:  # each caller raises it
            self._failed |= dict.fromkeys(keys, error)
        except BaseException:  # this caller was cancelled
            self._wanted = dict.fromkeys(keys) | self._wanted
            raise
        else:
            self._found |= {key: found.get(key) for key in keys}
