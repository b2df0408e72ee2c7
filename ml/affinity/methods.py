"""A ranker as a method to be evaluated; without TensorFlow, so that any version can be."""

import numpy as np
from numpy.typing import NDArray

from ml.affinity.lifts import LONGEST
from ml.affinity.ranking import Ranker, rank
from ml.baselines.item_tables import ReadState
from ml.evaluation import Method
from ml.fallback import Fallback
from ml.log import state_of
from ml.masks import mask_of
from ml.state import Table


def ranker_method(ranker: Ranker, read_state: ReadState = state_of, *, clockless: bool = False) -> Method:
    """The ranker as a method to be evaluated: all items of its universe, and the cold ones, except resting items.

    Without a clock the visit is taken to be a day later: what was bought a line ago was not bought just now.
    """
    later = int(LONGEST) if clockless else 0
    universe, none = ranker.universe, np.empty(0, np.uint32)
    numbers = universe.numbers if universe.cold is None else np.concatenate([universe.numbers, universe.cold.numbers])
    everything = mask_of(numbers)
    fallback = Fallback.popular(universe.popular_numbers)

    def method(history: Table, as_of: int) -> NDArray[np.uint32]:
        return rank(
            ranker,
            read_state(history, as_of),
            as_of=as_of + later,
            allowed=everything,
            context=none,
            fallback=fallback,
            first=len(numbers),
        ).numbers

    return method
