"""What follows an item within a few lines: the table of sequential rules that the net is blended with.

The rules of `ml.rules` look at whole orders. These look at lines, one by one, as the net does: the item after next
counts half as much as the next one (Ludewig and Jannach 2018).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.sequence.histories import Rows

LINES, FADE = 10, 0.7  # the newest lines of a person that speak, and how much less each older one counts


@dataclass(frozen=True, eq=False)
class LineRules:
    """For each of n items the rows of those that follow it, and how strongly."""

    rows: NDArray[np.int32]  # (n + 1, k) padded with n
    scores: NDArray[np.float32]  # (n + 1, k), 0 where padded

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """(n,) how strongly each item follows these, the newest last."""
        newest = rows[::-1][:LINES]
        weighted = self.scores.take(newest, axis=0) * (FADE ** np.arange(len(newest)))[:, None]
        named = self.rows.take(newest, axis=0)
        sums = np.bincount(named.ravel(), weighted.ravel(), minlength=len(self.rows))[:-1]
        return sums.astype(np.float64, copy=False)
