"""What follows an item within a few lines: the table of sequential rules that the net is blended with.

The rules of `ml.rules` look at whole orders. These look at lines, one by one, as the net does: the item after next
counts half as much as the next one (Ludewig and Jannach 2018).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.nearest import top_lists
from ml.sequence.histories import Histories, Rows

WINDOW = 5  # lines that a rule looks ahead; the k-th counts 1 / k
POPULARITY = 0.3  # the power of an item's share of lines that its rules are divided by
KEPT = 200  # rules of an item
LINES, FADE = 10, 0.7  # the newest lines of a person that speak, and how much less each older one counts


@dataclass(frozen=True, eq=False)
class LineRules:
    """For each of n items the rows of those that follow it, and how strongly."""

    rows: NDArray[np.int32]  # (n + 1, k) padded with n
    scores: NDArray[np.float32]  # (n + 1, k), 0 where padded

    @classmethod
    def of(cls, histories: Histories, items: int) -> "LineRules":
        """The rules that these histories show."""
        rows, lengths = histories.rows, histories.lengths
        person = np.repeat(np.arange(len(histories)), lengths)
        pairs = sparse.csr_array((items, items), dtype=np.float32)
        for gap in range(1, WINDOW + 1):
            same = np.flatnonzero(person[gap:] == person[:-gap])
            weight = np.full(len(same), 1 / gap, np.float32)
            pairs = pairs + sparse.csr_array((weight, (rows[same], rows[same + gap])), shape=(items, items))
        times = np.maximum(np.bincount(rows, minlength=items), 1)
        share = (times / max(len(rows), 1)) ** POPULARITY

        def block(start: int, end: int) -> NDArray[np.float32]:
            found = pairs[start:end].toarray()
            found[np.arange(end - start), np.arange(start, end)] = 0
            strength: NDArray[np.float32] = (found / times[start:end, None] / share).astype(np.float32)
            return strength

        return cls(*top_lists(block, items, min(KEPT, items)))

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """(n,) how strongly each item follows these, the newest last."""
        newest = rows[::-1][:LINES]
        weighted = self.scores.take(newest, axis=0) * (FADE ** np.arange(len(newest)))[:, None]
        return np.bincount(self.rows.take(newest, axis=0).ravel(), weighted.ravel(), minlength=len(self.rows))[:-1]
