"""A ranked list of items: scores, and a reason for each item that is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

REASONS = (
    "BOUGHT_BEFORE", "DUE_AGAIN", "SIMILAR_TO", "BOUGHT_TOGETHER", "AFFINITY", "SEQUENCE",
    "POPULAR", "TRENDING", "NEW", "PINNED", "EXPLORATION", "VIEWED", "BOUGHT_BY_OTHERS", "OTHER", "VIEWED_BEFORE",
)  # fmt: skip
REASON = {name: code for code, name in enumerate(REASONS)}
LONGEST_EVERY = 65_535  # days


class Explained(NamedTuple):
    """The reason for each item of a list."""

    reasons: NDArray[np.uint8]  # (k,) index in REASONS
    because: NDArray[np.uint32]  # (k,) catalogue number of the item the reason names, 0 = none
    every: NDArray[np.uint16]  # (k,) days in which the person usually buys the item again, 0 = unknown

    @classmethod
    def of(cls, reasons: NDArray[np.uint8], because: NDArray[np.uint32]) -> Self:
        """Reasons that say nothing of how often the person buys."""
        return cls(reasons, because, np.zeros(len(reasons), np.uint16))


Explain = Callable[[NDArray[np.uint32]], Explained]  # the reasons for items, by catalogue number
Chances = Callable[[NDArray[np.uint32]], NDArray[np.float32]]  # the probabilities of items, by catalogue number


def not_calibrated(numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """No probability for any item."""
    return np.full(len(numbers), np.nan, np.float32)


@dataclass(frozen=True, eq=False)
class Ranked:
    """A list, best first. Reasons are computed when they are first read: take the items you keep before that."""

    numbers: NDArray[np.uint32]  # (k,) catalogue numbers
    scores: NDArray[np.float32]  # (k,) in [0, 1], falling
    explain: Explain
    chances: Chances = not_calibrated
    chosen: Mapping[int, int] = field(default_factory=dict)  # by number: items by chance, see `explorable.Pick`

    def take(self, positions: NDArray[np.intp]) -> Self:
        """The items at some positions of the list."""
        return type(self)(self.numbers[positions], self.scores[positions], self.explain, self.chances, self.chosen)

    @cached_property
    def explained(self) -> Explained:
        """The reasons for the items of the list."""
        found = self.explain(self.numbers)
        if self.chosen:
            by_chance = self._by_chance()
            found.reasons[by_chance], found.because[by_chance], found.every[by_chance] = REASON["EXPLORATION"], 0, 0
        return found

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(k,) that the person buys the item within the model's horizon; NaN if not calibrated, or there by chance."""
        found = self.chances(self.numbers)
        if self.chosen:
            found[self._by_chance()] = np.nan
        return found

    def _by_chance(self) -> NDArray[np.bool_]:
        return np.array([number in self.chosen for number in self.numbers.tolist()], np.bool_)

    @property
    def reasons(self) -> NDArray[np.uint8]:
        """(k,) index in REASONS."""
        return self.explained.reasons

    @property
    def because(self) -> NDArray[np.uint32]:
        """(k,) catalogue number of the item the reason names, 0 = none."""
        return self.explained.because

    @property
    def every(self) -> NDArray[np.uint16]:
        """(k,) days in which the person usually buys the item again, 0 = unknown."""
        return self.explained.every


def explain_as(reason: str, because: int = 0) -> Explain:
    """The same reason for every item."""

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        reasons = np.full(len(numbers), REASON[reason], np.uint8)
        return Explained.of(reasons, np.full(len(numbers), because, np.uint32))

    return explain


def best_first(scores: NDArray[np.float32], numbers: NDArray[Any]) -> NDArray[np.intp]:
    """Positions by falling score; of equal scores the lowest catalogue number first."""
    return np.lexsort((numbers, -scores))
