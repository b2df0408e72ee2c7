"""The baselines as networks over pair features: where a trained network is refused, the best of them serves."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.baselines.item_tables import served_by
from ml.baselines.methods import BASELINES, TABLES
from ml.interest import Interest
from ml.log import Log
from ml.universe import Universe

# Items of equal weight go by how many people bought them lately, then ever, as in `Universe.popular`. These weights are
# too small to change places between items that the person bought once more or less.
_BY_POPULARITY = {"recent_people": 1e-3, "people": 1e-6}
SEQUENCE = "sequence_net"  # no baseline, but it serves in the same way
_OWN_FIRST = 4.0  # an item that the person bought is above every other one, however long ago that was
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "popularity": {"recent_people": 1.0, "people": 1e-3},
    "personal_frequency": {"bought": _OWN_FIRST, "lines": 1.0, **_BY_POPULARITY},
    "decayed_frequency": {"bought": _OWN_FIRST, "decayed": 1.0, **_BY_POPULARITY},
    SEQUENCE: {"sequence": 1.0, "recent_people": 1e-5, "people": 1e-8},
    **{name: {"near": 1.0, "recent_people": 1e-5, "people": 1e-8} for name in TABLES},  # sums of a table are small
}
assert WEIGHTS.keys() == {*BASELINES, SEQUENCE}


def baseline_network(name: str) -> Network:
    """The network of one layer that orders candidates as the baseline does, in its `baseline_universe`."""
    weights = dict.fromkeys(FEATURES, 0.0) | dict(WEIGHTS[name])
    kernel = np.array(FEATURES.ordered(weights), np.float32)[:, None]
    return Network((kernel,), (np.zeros(1, np.float32),))


def baseline_universe(name: str, past: Log, universe: Universe) -> Universe:
    """The universe that a baseline serves from: with its table, if it is one, fitted on the lines before its moment."""
    universe = without_learned_views(universe)
    return served_by(universe, TABLES[name](past, universe)) if name in TABLES else universe


def without_learned_views(universe: Universe) -> Universe:
    """The universe for a network that has learned nothing of views: these go on to lift what is near to them."""
    return replace(universe, interest=Interest.read(universe.interest).unlearned.table)
