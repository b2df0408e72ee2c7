"""What people bought, in order, and the windows of it that the net learns from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.log import Log

Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Histories:
    """What each person bought, the oldest first, as rows of the items that the net knows."""

    rows: Rows  # (lines,)
    starts: NDArray[np.int64]  # (people + 1,) where each person's lines begin

    @classmethod
    def of(cls, log: Log, numbers: NDArray[np.uint32]) -> Self:
        """The kept lines of a log that are about some items (catalogue numbers, ascending)."""
        kept = log.of_items(numbers).kept
        starts = np.searchsorted(kept.person, np.arange(len(log.people) + 1))
        return cls(np.searchsorted(numbers, kept.item).astype(np.int32), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, person: int) -> Rows:
        return self.rows[self.starts[person] : self.starts[person + 1]]

    def __iter__(self) -> Iterator[Rows]:
        return map(self.__getitem__, range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(people,) lines of each."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class Windows:
    """Parts of histories of at most `length` lines, each with the line that follows; padded on the right."""

    items: Rows  # (windows, length)
    targets: Rows  # (windows, length), -1 where padded

    @classmethod
    def cut(cls, histories: Histories, length: int, random: np.random.Generator) -> Self:
        """Every line but the first of each person is a target once; where the cuts are is drawn for each person."""
        person = np.repeat(np.arange(len(histories)), histories.lengths)
        place = np.arange(len(histories.rows)) - histories.starts[person]
        known = np.flatnonzero(person[1:] == person[:-1])  # lines with a next one
        person, place = person[known], place[known]
        shifted = place + random.integers(0, length, len(histories))[person]
        slot = np.minimum(place, shifted % length)
        window = np.cumsum(slot == 0) - 1
        shape = (int(window[-1]) + 1 if len(window) else 0, length)
        items, targets = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
        items[window, slot], targets[window, slot] = histories.rows[known], histories.rows[known + 1]
        return cls(items, targets)

    def __len__(self) -> int:
        return len(self.items)
