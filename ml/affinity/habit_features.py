"""Features of a person's habit of buying an item, from the newest orders line by line.

They stand beside the columns OWN of `ml.affinity.pair_features` and are part of it: training and serving share them.
Those that a state alone gives are computed in `ml.habits`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.habits import SHORTEST, Habits
from ml.universe import DAY

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


def lateness(
    habits: Habits, age: NDArray[np.float64], usual_gap: NDArray[np.float64]
) -> Mapping[str, NDArray[np.float64]]:
    """The columns HABIT_BY_CLOCK (items,), `age` seconds after the last purchase; `usual_gap` in days."""
    recency = np.log(np.maximum(age / DAY, SHORTEST))
    usual = np.log(np.maximum(usual_gap, SHORTEST))
    count, total, square, last = habits.gaps
    mean = (total + PRIOR_GAPS * usual) / (count + PRIOR_GAPS)
    spread = square - 2 * mean * total + count * mean**2  # of the person's own gaps around the mean
    spread = np.sqrt(np.maximum(spread + PRIOR_GAPS * USUAL_SPREAD**2, 0.01) / (count + PRIOR_GAPS))
    return {
        "lateness": recency - np.where(count > 0, last, usual),
        "overdue": np.clip((recency - mean) / spread, -6.0, 6.0),
    }
