"""The list of what completes an item, from the table `together` that `ml.complements` makes in training."""

import numpy as np

from ml.masks import Mask, is_allowed
from ml.ranked import Ranked, explain_as
from ml.universe import Universe


def bought_together(universe: Universe | None, number: int, allowed: Mask, first: int) -> Ranked:
    """What completes an item, best first; nothing fills the list, so that all of it is true.

    Nothing completes an item outside the universe, nor any item without one or with that of an earlier release.
    """
    numbers, scores = np.empty(0, np.uint32), np.empty(0, np.float32)
    if universe is not None and universe.together is not None and universe.together_score is not None:
        row = int(universe.rows(np.array([number]))[0])
        numbers, scores = universe.linked(universe.together[row], universe.together_score[row])
    kept = np.flatnonzero(is_allowed(numbers, allowed))[:first]
    return Ranked(numbers[kept], scores[kept], explain_as("BOUGHT_TOGETHER", number))
