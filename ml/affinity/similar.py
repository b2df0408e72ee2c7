"""Items similar to one item: its nearest neighbours over people."""

import numpy as np
from numpy.typing import NDArray

from ml.fallback import Fallback, fill
from ml.masks import Mask, is_allowed, without
from ml.ranked import REASON, Explained, Ranked, best_first
from ml.universe import Universe


def similar(universe: Universe, number: int, allowed: Mask, fallback: Fallback, first: int) -> Ranked:
    """The items nearest to one, then those of the fallback."""
    allowed = without(allowed, np.array([number], np.uint32))
    row = int(universe.rows(np.array([number]))[0])
    real = universe.near_score[row] > 0
    nearest, scores = universe.numbers[universe.near[row][real]], universe.near_score[row][real]
    kept = is_allowed(nearest, allowed)
    nearest, scores = nearest[kept], scores[kept]
    best = best_first(scores, nearest)[:first]
    numbers, scores = fill(nearest[best], scores[best], allowed, fallback, first)

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        found, near = fallback.explain(numbers), (numbers[:, None] == nearest).any(axis=1)  # few: `isin` would sort
        found.reasons[near], found.because[near] = REASON["SIMILAR_TO"], number
        return found

    return Ranked(numbers, scores, explain)
