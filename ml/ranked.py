"""A ranked list of items: scores, and a reason for each item that is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

REASONS = (
    "BOUGHT_BEFORE", "DUE_AGAIN", "SIMILAR_TO", "BOUGHT_TOGETHER", "AFFINITY", "SEQUENCE",
    "POPULAR", "TRENDING", "NEW", "PINNED", "EXPLORATION", "VIEWED", "BOUGHT_BY_OTHERS", "OTHER",
)  # fmt: skip
REASON = {name: code for code, name in enumerate(REASONS)}


class Explained(NamedTuple):
    """The reason for each item of a list."""

    reasons: NDArray[np.uint8]  # (k,) index in REASONS
    because: NDArray[np.uint32]  # (k,) catalogue number of the item the reason names, 0 = none


Explain = Callable[[NDArray[np.uint32]], Explained]  # the reasons for items, by catalogue number


@dataclass(frozen=True, eq=False)
class Ranked:
    """A list, best first. Reasons are computed when they are first read: take the items you keep before that."""

    numbers: NDArray[np.uint32]  # (k,) catalogue numbers
    scores: NDArray[np.float32]  # (k,) in [0, 1], falling
    explain: Explain

    def take(self, positions: NDArray[np.intp]) -> Self:
        """The items at some positions of the list."""
        return type(self)(self.numbers[positions], self.scores[positions], self.explain)

    @cached_property
    def explained(self) -> Explained:
        """The reasons for the items of the list."""
        return self.explain(self.numbers)

    @property
    def reasons(self) -> NDArray[np.uint8]:
        """(k,) index in REASONS."""
        return self.explained.reasons

    @property
    def because(self) -> NDArray[np.uint32]:
        """(k,) catalogue number of the item the reason names, 0 = none."""
        return self.explained.because


def explain_as(reason: str, because: int = 0) -> Explain:
    """The same reason for every item."""

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        return Explained(np.full(len(numbers), REASON[reason], np.uint8), np.full(len(numbers), because, np.uint32))

    return explain


def best_first(scores: NDArray[np.float32], numbers: NDArray[Any]) -> NDArray[np.intp]:
    """Positions by falling score; of equal scores the lowest catalogue number first."""
    return np.lexsort((numbers, -scores))
