"""The target of a prediction: the first order of each person after a cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.log import Log


@dataclass(frozen=True, eq=False)
class Baskets:
    """One basket per person."""

    people: NDArray[np.int32]  # (baskets,) index into the log's people
    starts: NDArray[np.int64]  # (baskets + 1,) where each basket begins in `items`
    items: NDArray[np.uint32]  # catalogue numbers, ascending and distinct within a basket

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> NDArray[np.uint32]:
        return self.items[self.starts[index] : self.starts[index + 1]]

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(items,) person and item of each line as one number."""
        return np.repeat(self.people, np.diff(self.starts)).astype(np.int64) << 32 | self.items

    def of(self, people: NDArray[np.int32]) -> "Baskets":
        """The baskets of some people."""
        kept = np.flatnonzero(np.isin(self.people, people))
        sizes = np.diff(self.starts)
        return Baskets(
            self.people[kept],
            np.append(0, np.cumsum(sizes[kept])),
            self.items[np.repeat(np.isin(self.people, people), sizes)],
        )


def first_baskets(log: Log, start: int, end: int | None = None) -> Baskets:
    """The first order of each person from `start` on and before `end` (seconds), without what the log says returned."""
    after = log.kept.between(start, end)
    people, first_line = np.unique(after.person, return_index=True)
    first_order = np.full(len(log.people), -1)
    first_order[people] = after.order[first_line]
    lines = after.order == first_order[after.person]
    pairs = np.unique(after.person[lines].astype(np.int64) << 32 | after.item[lines])
    owner = (pairs >> 32).astype(np.int32)
    starts = np.append(np.searchsorted(owner, people), len(pairs))
    return Baskets(people, starts, (pairs & 0xFFFFFFFF).astype(np.uint32))
