"""From scores to a list of all items: the scored ones, best first, then popular ones; equals go by popularity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.universe import Universe

Numbers = NDArray[np.uint32]


def best_first(universe: Universe, scores: NDArray[Any], left_out: Numbers | None = None) -> Numbers:
    """All catalogue numbers of a universe except `left_out`; `scores` are (n,), and only those above zero count."""
    scored = np.flatnonzero(scores > 0)
    top = scored[np.lexsort((universe.places[scored], -scores[scored]))]
    rest = universe.popular[scores[universe.popular] <= 0]
    rows = np.concatenate([top, rest])
    if left_out is not None and len(left_out):
        kept = np.ones(len(universe.numbers) + 1, np.bool_)
        kept[universe.rows(left_out)] = False
        rows = rows[kept[rows]]
    numbers: Numbers = universe.numbers[rows]
    return numbers
