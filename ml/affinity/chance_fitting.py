"""Fits the probabilities of a ranker on an earlier horizon, and checks them on the one after the cut."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.calibration import platt
from ml.affinity.chances import Chance
from ml.affinity.network import Network, sigmoid
from ml.affinity.training_lists import candidate_features
from ml.log import Log
from ml.universe import DAY, Universe

BINS = 10  # of the calibration curve


def fit_chance(
    network: Network, log: Log, universe: Universe, start: int, end: int, *, people: int, seed: int
) -> Chance | None:
    """Fit on what people with earlier orders did between `start` and `end`; None when they bought no candidate."""
    logits, bought = _observed(network, log, universe, start, end, people=people, seed=seed)
    if not bought.any():
        return None
    return Chance(*platt(logits, bought), end - start)


def check_chance(
    chance: Chance, network: Network, log: Log, universe: Universe, cut: int, *, people: int, seed: int
) -> dict[str, Any] | None:
    """How the probabilities agree with what was bought after the cut; None when the log ends before the horizon does.

    Bins are equal parts of the pairs by falling probability: (mean probability, share bought) of each.
    """
    end = cut + chance.horizon
    logits, bought = _observed(network, log, universe, cut, end, people=people, seed=seed)
    if not len(logits) or int(log.occurred.max()) < end:
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
    network: Network, log: Log, universe: Universe, start: int, end: int, *, people: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(pairs,) logits as of `start` of some people's candidates, and which of them they bought before `end`."""
    known = np.unique(log.between(None, start).person)
    drawn = np.random.default_rng(seed).permutation(known)[:people].tolist()
    later = log.between(start, end)
    logits, bought = [np.empty(0, np.float32)], [np.empty(0, np.bool_)]
    for person in drawn:
        if found := candidate_features(log, universe, person, start):
            logits.append(network.logits(found.features))
            bought.append(np.isin(found.numbers, later.item[later.person == person]))
    return np.concatenate(logits), np.concatenate(bought)
