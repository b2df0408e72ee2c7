"""What the ranker must beat: popularity, a person's own frequency, and the same with older purchases fading."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ml.state import Table
from ml.universe import DAY, Universe

FADES = 120 * DAY  # half-life of the decayed frequency; the best of 14 to 180 days on the demo log

Rows = NDArray[np.intp]
# (universe, the person's purchases before a second as EVENT, that second) -> all rows, best first
Baseline = Callable[[Universe, Table, int], Rows]


def popularity(universe: Universe, purchases: Table, as_of: int) -> Rows:
    """What most people bought in the last four weeks."""
    return universe.popular.astype(np.intp)


def personal_frequency(universe: Universe, purchases: Table, as_of: int) -> Rows:
    """What the person bought most often, then what is popular."""
    return _by_weight(universe, purchases, np.ones(len(purchases)))


def decayed_frequency(universe: Universe, purchases: Table, as_of: int) -> Rows:
    """The same, each purchase halved every FADES."""
    return _by_weight(universe, purchases, np.exp2((purchases["occurred"] - as_of) / FADES))


def _by_weight(universe: Universe, purchases: Table, weights: NDArray[np.float64]) -> Rows:
    rows = universe.rows(purchases["item"])
    total = np.bincount(rows, weights, minlength=len(universe.numbers) + 1)[:-1]
    rank = np.empty(len(total), np.int64)
    rank[universe.popular] = np.arange(len(total))
    return np.lexsort((rank, -total))


MANDATORY: Mapping[str, Baseline] = {"popularity": popularity, "personal_frequency": personal_frequency}
BASELINES: Mapping[str, Baseline] = {**MANDATORY, "decayed_frequency": decayed_frequency}
