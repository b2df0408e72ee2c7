"""A cache in memory with a bound in bytes and in time."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

LARGEST = 64  # a value may take at most this part of all bytes, so that few values cannot fill the cache


class _Kept(NamedTuple, Generic[Value]):
    value: Value
    size: int
    until: float


class BoundedCache(Generic[Key, Value]):
    """Values by key: at most `most_bytes` in all, each for `seconds`. The one kept first is dropped first.

    A timer drops old values when nobody asks for them. So a cache belongs to one event loop.
    """

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._most, self._seconds = most_bytes, seconds
        self._kept: OrderedDict[Key, _Kept[Value]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._kept)

    def find(self, key: Key) -> Value | None:
        """The value of this key; None when there is none, or when it is too old."""
        kept = self._kept.get(key)
        return kept.value if kept is not None and monotonic() < kept.until else None

    def keep(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of about so many bytes, in place of the one before. One that is too large is not kept."""
        self.drop(key)
        if size * LARGEST > self._most:
            return
        self._kept[key] = _Kept(value, size, monotonic() + self._seconds)
        self.bytes += size
        while self.bytes > self._most:
            self._drop_first()
        if self._timer is None:
            self._wait(self._seconds)

    def renew(self, key: Key) -> None:
        """Keep the value of this key, which was just found, as if from now on."""
        kept = self._kept[key]
        self._kept[key] = _Kept(kept.value, kept.size, monotonic() + self._seconds)
        self._kept.move_to_end(key)

    def drop(self, key: Key) -> None:
        """Forget the value of this key, if there is one."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= kept.size

    def clear(self) -> None:
        """Forget all values."""
        self._kept.clear()
        self.bytes = 0

    def _drop_first(self) -> None:
        _, kept = self._kept.popitem(last=False)
        self.bytes -= kept.size

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._drop_old)

    def _drop_old(self) -> None:
        self._timer = None
        now = monotonic()
        while self._kept:
            first = next(iter(self._kept.values()))
            if first.until > now:
                self._wait(first.until - now)
                return
            self._drop_first()
