"""Whole candidate lists as of the visits of the validation span: scores are calibrated, and variants chosen, on them.

Training lists would not do for that: they hold too few items that were not bought, and networks were fitted on them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.affinity.calibration import platt
from ml.affinity.network import Network
from ml.affinity.training_lists import candidate_features
from ml.baskets import beyond_carts, first_baskets
from ml.log import Log
from ml.metrics import ndcg
from ml.ranked import best_first
from ml.splits import Window
from ml.universe import Universe


@dataclass(frozen=True, eq=False)
class ValidationLists:
    """One list per person, of their first order in a window."""

    features: list[NDArray[np.float32]]  # (candidates, FEATURES) of each
    numbers: list[NDArray[np.uint32]]  # (candidates,) catalogue numbers
    baskets: list[NDArray[np.uint32]]  # what was ordered, items that were no candidates too

    def __len__(self) -> int:
        return len(self.features)

    def calibration(self, network: Network) -> tuple[float, float]:
        """Slope and shift that turn the network's logits into probabilities; 1 and 0 without a list."""
        if not len(self):
            return 1.0, 0.0
        bought = [np.isin(numbers, basket) for numbers, basket in zip(self.numbers, self.baskets, strict=True)]
        return platt(np.concatenate([network.logits(each) for each in self.features]), np.concatenate(bought))

    def ndcg(self, network: Network) -> NDArray[np.float64]:
        """(lists,) NDCG@10 of the candidates as the network orders them; NaN where its logits are not finite."""
        values = []
        for features, numbers, basket in zip(self.features, self.numbers, self.baskets, strict=True):
            logits = network.logits(features)
            top = numbers[best_first(logits, numbers)[:10]]
            values.append(ndcg(np.isin(top, basket), len(basket)) if np.isfinite(logits).all() else np.nan)
        return np.array(values, np.float64)


def validation_lists(log: Log, universe: Universe, window: Window, most: int, seed: int) -> ValidationLists:
    """The lists of at most `most` people, drawn; the universe is as of the window's start."""
    baskets = beyond_carts(log, first_baskets(log, window.start, window.end))
    found = ValidationLists([], [], [])
    for index in np.random.default_rng(seed).permutation(len(baskets)).tolist():
        if len(found) == most:
            break
        candidates = candidate_features(log, universe, int(baskets.people[index]), int(baskets.visits[index]))
        if candidates is not None:
            found.features.append(candidates.features)
            found.numbers.append(candidates.numbers)
            found.baskets.append(baskets[index])
    return found
