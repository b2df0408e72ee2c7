"""Features of a person's habit of buying an item, from the newest orders line by line.

They stand beside the columns OWN of `ml.affinity.own_features` and are part of it: training and serving share them.
Those that a state alone gives are computed in `ml.habits`.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.habits import SHORTEST, Habits

HABIT = Columns(  # about an item the person bought; all are 0 for any other item
    (
        "orders_slow",  # share of the newest orders that hold it, the k-th newest weighted .9^k
        "orders_fast",  # ... weighted .7^k
        "fresh",  # 1 / (1 + orders since it was last bought)
        "rate",  # purchases per order since it was first bought
        "waited",  # log1p of the orders since it was last bought over the mean orders between two purchases
        "lateness",  # log of the days since the last purchase over the last gap; the usual gap after one purchase
        "overdue",  # (log of the days since the last purchase - mean log gap) / spread of the log gaps
    )
)
HABIT_BY_CLOCK = ("lateness", "overdue")  # mean nothing in a log without a clock
PRIOR_GAPS = 2.0  # gaps of the usual length and spread that are mixed with a person's own
USUAL_SPREAD = 0.8  # of the log of a gap


class UsualGaps(NamedTuple):
    """How the gaps between two purchases of each item usually are; arrays (items,) of logs of days."""

    last: NDArray[np.float32]  # of the last gap; the usual one after one purchase
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, habits: Habits, usual_gap: NDArray[np.float64]) -> Self:
        """The gaps of a person's items, mixed with the `usual_gap` (items,) of all people in days."""
        usual = np.log(np.maximum(usual_gap, SHORTEST))
        count, total, square, last = habits.gaps
        mean = (total + PRIOR_GAPS * usual) / (count + PRIOR_GAPS)
        spread = square - 2 * mean * total + count * mean**2  # of the person's own gaps around the mean
        spread = np.sqrt(np.maximum(spread + PRIOR_GAPS * USUAL_SPREAD**2, 0.01) / (count + PRIOR_GAPS))
        return cls(*(part.astype(np.float32) for part in (np.where(count > 0, last, usual), mean, spread)))

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays."""
        return sum(part.nbytes for part in self)

    def at(self, places: NDArray[np.intp]) -> Self:
        """Those of some of the items."""
        return type(self)(*(part.take(places) for part in self))

    def late(self, age: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The columns HABIT_BY_CLOCK (items,), `age` days after the last purchase."""
        recency = np.log(np.maximum(age, np.float32(SHORTEST)))
        return recency - self.last, np.clip((recency - self.mean) / self.spread, -6, 6)
