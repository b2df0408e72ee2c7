"""Baselines that are a table: for each item the items it speaks for, summed over what a person bought.

Such a table can serve: it takes the place of `near` in a universe, and the candidates of a list sum it as this does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.baselines.ordering import Numbers, best_first
from ml.evaluation import Method
from ml.log import state_of
from ml.rests import resting
from ml.state import State, Table, orders_since
from ml.universe import Universe

ReadState = Callable[[Table, int], State]


@dataclass(frozen=True, eq=False)
class ItemTable:
    """n items by row of their universe; the last row is for every other item."""

    rows: NDArray[np.int32]  # (n + 1, k) rows of items, padded with n
    scores: NDArray[np.float32]  # (n + 1, k) above 0; 0 where padded
    fade: float  # what the weight of a person's item is multiplied by for each later order; 1 = all count alike


def source_weights(state: State, fade: float) -> NDArray[np.float64]:
    """(bought,) the weight of each of a person's items: `fade` to the power of the orders since it was bought."""
    if fade == 1:
        return np.ones(len(state.bought))
    weights: NDArray[np.float64] = np.power(fade, orders_since(state, state.bought["last"]).astype(np.float64))
    return weights


class LastState:
    """`state_of`, which remembers its last answer: in an evaluation every table asks for the same person in turn."""

    def __init__(self) -> None:
        self._known: tuple[Table, int, State] | None = None

    def __call__(self, history: Table, as_of: int) -> State:
        """The state; the same one for the same table of events and the same second."""
        if self._known is None or self._known[0] is not history or self._known[1] != as_of:
            self._known = (history, as_of, state_of(history, as_of))
        return self._known[2]


def table_method(universe: Universe, table: ItemTable, read_state: ReadState = state_of) -> Method:
    """Items by the summed table, then popular ones, without those that rest: the list that the table serves."""
    items = len(universe.numbers)

    def method(history: Table, as_of: int) -> Numbers:
        state = read_state(history, as_of)
        rows = universe.rows(state.bought["item"])
        weighted = table.scores.take(rows, axis=0) * source_weights(state, table.fade)[:, None]
        sums = np.bincount(table.rows.take(rows, axis=0).ravel(), weighted.ravel(), minlength=items + 1)[:items]
        return best_first(universe, sums, resting(universe, state, as_of))

    return method


def served_by(universe: Universe, table: ItemTable) -> Universe:
    """The universe in which the evidence `near` is the summed table."""
    return replace(universe, near=table.rows, near_score=table.scores, fade=np.array([table.fade], np.float32))
