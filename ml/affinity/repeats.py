"""Which of a person's own items come back, all or only those that are due, and how often they buy such items."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.affinity.ranking import is_due, own_gaps
from ml.state import State
from ml.universe import Universe

PRIOR: Final = 10.0  # purchases as all people make them that are mixed with a person's own
USUAL: Final = 0.5  # the share of first purchases where no model knows that of all people


def split_by_due(universe: Universe | None, state: State, as_of: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The catalogue numbers of the items that the person bought: those that are due, as DUE_AGAIN says, and the others.

    A state knows the 512 items that matter most to a person.
    """
    rows = state.bought
    due = is_due(universe, own_gaps(rows), rows, as_of)
    numbers = np.ascontiguousarray(rows["item"])
    return numbers[due], numbers[~due]


def repeat_share(universe: Universe | None, state: State) -> float:
    """The share of a person's purchases that are of items which they bought before, PRIOR of all people's mixed in."""
    bought = state.bought
    usual = USUAL if universe is None or universe.first_share is None else float(universe.first_share[0])
    lines = float(bought["lines"].sum(dtype=np.int64))
    return 1 - (len(bought) + PRIOR * usual) / (lines + PRIOR)
