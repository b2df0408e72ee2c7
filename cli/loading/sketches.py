"""Counts of many values in little memory: exact while they are few, close when they are many."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

KEPT: Final = 1 << 16  # hashes of 8 bytes; the error of the count is 1 / sqrt(KEPT), 0.4 %
_WHOLE: Final = 2.0**64


class Distinct:
    """How many different values there are: exact up to `kept`, then estimated from the smallest hashes."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._hashes: NDArray[np.uint64] = np.empty(0, np.uint64)  # ascending
        self._fresh: list[NDArray[np.uint64]] = []
        self._exact = True

    def add(self, values: Sequence[object]) -> None:
        """Count these values too."""
        fresh = _mixed(np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64))
        self._fresh.append(fresh if self._exact else fresh[fresh < self._hashes[-1]])
        if sum(map(len, self._fresh)) > self._kept:
            self._gather()

    @property
    def exact(self) -> bool:
        """Whether the count is exact."""
        self._gather()
        return self._exact

    @property
    def count(self) -> int:
        """The number of different values."""
        if self.exact:
            return len(self._hashes)
        return round((self._kept - 1) * _WHOLE / float(self._hashes[-1]))

    def _gather(self) -> None:
        if self._fresh:
            together = np.unique(np.concatenate((self._hashes, *self._fresh)))
            self._exact = self._exact and len(together) <= self._kept
            self._hashes, self._fresh = together[: self._kept], []


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of small numbers are those numbers: spread them."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


class Frequent:
    """The most frequent values (Misra and Gries): their counts are too low by at most 1 / `kept` of all."""

    def __init__(self, kept: int = 1000) -> None:
        self._kept = kept
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Count these values as often as they say."""
        self._counts.update(counts)
        if len(self._counts) > 2 * self._kept:
            least = sorted(self._counts.values(), reverse=True)[self._kept]
            self._counts = Counter({value: count - least for value, count in self._counts.items() if count > least})

    def first(self, count: int) -> list[str]:
        """The most frequent values."""
        return [value for value, _ in self._counts.most_common(count)]

    def most(self) -> tuple[str, int]:
        """The most frequent value and its count; ("", 0) where there is none."""
        return self._counts.most_common(1)[0] if self._counts else ("", 0)
