"""The baselines as networks over pair features: where a trained network is refused, the best of them serves."""

from collections.abc import Mapping

import numpy as np

from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.baselines.counting import BASELINES

# Items of equal weight go by how many people bought them lately, then ever, as in `Universe.popular`. These weights are
# too small to change places between items that the person bought once more or less.
_BY_POPULARITY = {"recent_people": 1e-3, "people": 1e-6}
_OWN_FIRST = 4.0  # an item that the person bought is above every other one, however long ago that was
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "popularity": {"recent_people": 1.0, "people": 1e-3},
    "personal_frequency": {"bought": _OWN_FIRST, "lines": 1.0, **_BY_POPULARITY},
    "decayed_frequency": {"bought": _OWN_FIRST, "decayed": 1.0, **_BY_POPULARITY},
}
assert WEIGHTS.keys() == BASELINES.keys()


def baseline_network(name: str) -> Network:
    """The network of one layer that orders candidates as the baseline does."""
    weights = dict.fromkeys(FEATURES, 0.0) | dict(WEIGHTS[name])
    kernel = np.array(FEATURES.ordered(weights), np.float32)[:, None]
    return Network((kernel,), (np.zeros(1, np.float32),))
