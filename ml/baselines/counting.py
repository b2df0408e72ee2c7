"""Baselines that count purchases: popularity, a person's own frequency, and the same with older purchases fading."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ml.evaluation import Method
from ml.state import Table, kept_purchases
from ml.universe import DAY, Universe

HALF_LIFE = 120 * DAY  # of a purchase in the decayed frequency; the best of 14 to 180 days on the demo log

Numbers = NDArray[np.uint32]
# (universe, the person's events before a second as EVENT, that second) -> all catalogue numbers, best first
Baseline = Callable[[Universe, Table, int], Numbers]


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
    total = np.bincount(rows, weights, minlength=len(universe.numbers) + 1)[:-1]
    rank = np.empty(len(total), np.int64)
    rank[universe.popular] = np.arange(len(total))
    return universe.numbers[np.lexsort((rank, -total))]


BASELINES: Mapping[str, Baseline] = {  # the simplest first
    "popularity": popularity,
    "personal_frequency": personal_frequency,
    "decayed_frequency": decayed_frequency,
}


def baseline_methods(universe: Universe) -> dict[str, Method]:
    """All baselines over the items of a universe, to be evaluated."""
    return {name: partial(baseline, universe) for name, baseline in BASELINES.items()}
