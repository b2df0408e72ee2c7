"""Counts the rules of lines."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.nearest import top_lists
from ml.sequence.histories import Histories
from ml.sequence.rules import LineRules

WINDOW = 5  # lines that a rule looks ahead; the k-th counts 1 / k
POPULARITY = 0.3  # the power of an item's share of lines that its rules are divided by
KEPT = 200  # rules of an item


def line_rules(histories: Histories, items: int) -> LineRules:
    """The rules that these histories show."""
    rows = histories.rows
    person = np.repeat(np.arange(len(histories)), histories.lengths)
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

    return LineRules(*top_lists(block, items, min(KEPT, items)))
