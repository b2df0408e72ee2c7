"""Which of a person's own items come back: all, or only those that are due."""

import numpy as np
from numpy.typing import NDArray

from ml.affinity.ranking import is_due, own_gaps
from ml.state import State
from ml.universe import Universe


def split_by_due(universe: Universe | None, state: State, as_of: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The catalogue numbers of the items that the person bought: those that are due, as DUE_AGAIN says, and the others.

    A state knows the 512 items that matter most to a person.
    """
    rows = state.bought
    due = is_due(universe, own_gaps(rows), rows, as_of)
    numbers = np.ascontiguousarray(rows["item"])
    return numbers[due], numbers[~due]
