"""Items similar to one item: its nearest neighbours over people; of one never sold those alike by words."""

import numpy as np
from numpy.typing import NDArray

from ml.fallback import Fallback, fill
from ml.masks import Mask, is_allowed, without
from ml.ranked import REASON, Explained, Ranked, best_first
from ml.universe import Universe


def similar(universe: Universe, number: int, allowed: Mask, fallback: Fallback, first: int) -> Ranked:
    """The items nearest to one, then those of the fallback."""
    allowed = without(allowed, np.array([number], np.uint32))
    near, scores = nearest(universe, number)
    kept = is_allowed(near, allowed)
    near, scores = near[kept], scores[kept]
    best = best_first(scores, near)[:first]
    numbers, scores = fill(near[best], scores[best], allowed, fallback, first)

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        found, is_near = fallback.explain(numbers), (numbers[:, None] == near).any(axis=1)  # few: `isin` would sort
        found.reasons[is_near], found.because[is_near] = REASON["SIMILAR_TO"], number
        return found

    return Ranked(numbers, scores, explain)


def nearest(universe: Universe, number: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The neighbours of an item, and how near they are."""
    cold = universe.cold
    if cold is not None and (at := cold.row(number)) is not None:
        return universe.linked(cold.like[at], cold.like_score[at])
    row = int(universe.rows(np.array([number]))[0])
    return universe.linked(universe.near[row], universe.near_score[row])


def has_similar(universe: Universe, number: int) -> bool:
    """Whether a model knows what is like an item: anybody bought it, or its words are like those of such items."""
    if universe.cold is not None and (at := universe.cold.row(number)) is not None:
        return bool((universe.cold.like_score[at] > 0).any())
    return bool(universe.rows(np.array([number]))[0] < len(universe.numbers))
