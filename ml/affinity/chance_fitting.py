"""Fits the probabilities of a ranker on earlier visits, and checks them on those after the cut."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.calibration import platt
from ml.affinity.chances import Chance
from ml.affinity.network import Network, sigmoid
from ml.affinity.training_lists import candidate_features
from ml.baskets import first_baskets
from ml.log import Log
from ml.universe import DAY, Universe

BINS = 10  # of the calibration curve


class Visited(NamedTuple):
    """Where visits are looked at: those from `start` on whose horizon ends by `until`."""

    log: Log
    universe: Universe  # as of `start`
    start: int  # seconds
    horizon: int  # seconds after a visit in which a purchase counts
    until: int  # seconds; what is after it is not looked at

    @property
    def end(self) -> int:
        """The end of the span of the visits; at most one horizon long."""
        return min(self.start + self.horizon, self.until - self.horizon)


def fit_chance(network: Network, visited: Visited, *, people: int, seed: int) -> Chance | None:
    """Fit on what people with earlier orders bought within the horizon after a visit; None if that was no candidate."""
    logits, bought = _observed(network, visited, people=people, seed=seed)
    if not bought.any():
        return None
    return Chance(*platt(logits, bought), visited.horizon)


def check_chance(
    chance: Chance, network: Network, visited: Visited, *, people: int, seed: int
) -> dict[str, Any] | None:
    """How the probabilities agree with what was bought after the cut; None when the log ends too soon after it.

    Bins are equal parts of the pairs by falling probability: (mean probability, share bought) of each.
    """
    logits, bought = _observed(network, visited, people=people, seed=seed)
    if not len(logits):
        return None
    probability = chance.of(sigmoid(logits)).astype(np.float64)
    order = np.argsort(-probability, kind="stable")
    return {
        "horizon_days": chance.horizon / DAY,
        "pairs": len(logits),
        "predicted": float(probability.mean()),
        "observed": float(bought.mean()),
        "brier": float(((probability - bought) ** 2).mean()),
        "bins": [
            (float(probability[part].mean()), float(bought[part].mean()))
            for part in np.array_split(order, BINS)
            if len(part)
        ],
    }


def _observed(
    network: Network, visited: Visited, *, people: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(pairs,) logits as of a visit of some people, for their candidates, and which of them they bought after it.

    The visit of a person is their first order of the span. A probability counts those who order nothing, too: each is
    looked at as of somebody else's visit.
    """
    log, universe, start, horizon, until = visited
    random = np.random.default_rng(seed)
    known = np.unique(log.between(None, start).person)
    drawn = random.permutation(known)[:people].tolist()
    baskets = first_baskets(log, start, visited.end)
    own = dict(zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True))
    others = random.choice(baskets.visits, len(drawn)).tolist() if len(baskets) else []
    later = log.kept.between(start, until)
    logits, bought = [np.empty(0, np.float32)], [np.empty(0, np.bool_)]
    for person, other in zip(drawn, others, strict=False):
        visit = own.get(person, other)
        if found := candidate_features(log, universe, person, visit):
            logits.append(network.logits(found.features))
            within = (later.person == person) & (later.occurred >= visit) & (later.occurred < visit + horizon)
            bought.append(np.isin(found.numbers, later.item[within]))
    return np.concatenate(logits), np.concatenate(bought)
