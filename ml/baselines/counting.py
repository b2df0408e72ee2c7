"""Baselines that count purchases: popularity, a person's own frequency, and the same with older purchases fading."""

import numpy as np
from numpy.typing import NDArray

from ml.baselines.ordering import Numbers, best_first
from ml.state import Table, kept_purchases
from ml.universe import DAY, Universe

HALF_LIFE = 120 * DAY  # of a purchase in the decayed frequency; the best of 14 to 180 days on the demo log


def popularity(universe: Universe, history: Table, as_of: int) -> Numbers:
    """The items that most people bought in the last four weeks."""
    return universe.popular_numbers


def personal_frequency(universe: Universe, history: Table, as_of: int) -> Numbers:
    """The items that the person bought most often and kept, then popular ones."""
    purchases = kept_purchases(history)
    return _by_weight(universe, purchases, np.ones(len(purchases)))


def decayed_frequency(universe: Universe, history: Table, as_of: int) -> Numbers:
    """The same, each purchase halved every HALF_LIFE."""
    purchases = kept_purchases(history)
    return _by_weight(universe, purchases, np.exp2((purchases["occurred"] - as_of) / HALF_LIFE))


def _by_weight(universe: Universe, purchases: Table, weights: NDArray[np.float64]) -> Numbers:
    rows = universe.rows(purchases["item"])
    return best_first(universe, np.bincount(rows, weights, minlength=len(universe.numbers) + 1)[:-1])
