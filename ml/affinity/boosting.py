"""Factors for the odds of items: what a shop wants to sell more, or less."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.affinity.lifts import NONE
from ml.affinity.ranking import Scored
from ml.fallback import fill

HEAD: Final = 400  # items of the fallback that factors move when nothing is known of the person


def with_candidates(scored: Scored) -> Scored:
    """The list itself; if it has no candidates, as for a stranger, with the head of the fallback as these.

    The order stays. Their scores fall evenly: the item in the middle has half the odds of the first, about. They say
    nothing of a probability.
    """
    if len(scored.numbers):
        return scored
    numbers, scores = fill(NONE, np.empty(0, np.float32), scored.allowed, scored.fallback, HEAD)
    by_number = np.argsort(numbers)
    return replace(
        scored,
        numbers=numbers[by_number],
        own=np.full(len(numbers), np.nan, np.float32),
        scores=scores[by_number],
        order=np.argsort(by_number),
    )


def boost(scored: Scored, factors: NDArray[np.float32]) -> Scored:
    """The list with the odds of each candidate, score / (1 - score), multiplied by its factor (candidates,).

    A greater factor never lowers an item. Items with equal factors keep their order among each other.
    """
    if not len(factors) or (factors == 1).all():
        return scored
    scores, weights = scored.scores.astype(np.float64), factors.astype(np.float64)
    scores = weights * scores / (1 - scores + weights * scores)
    order = scored.order[np.argsort(-scores[scored.order], kind="stable")]
    return replace(scored, scores=scores.astype(np.float32), order=order)
