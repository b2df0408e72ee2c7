"""What a person likes by key, such as category or brand, from the probabilities of single items."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.ranking import Scored
from ml.state import State, decayed


class Dimension(StrEnum):
    """What an affinity is about."""

    CATEGORY = "CATEGORY"
    BRAND = "BRAND"


class KeyAffinity(NamedTuple):
    """How much a person likes a key."""

    key: str
    share: float  # of all expected purchases, or of all decayed ones
    score: float  # what keys are ordered by: the probability, or the decayed purchases
    probability: float | None  # that the person buys an item with this key within the horizon


class Weights(NamedTuple):
    """Items by catalogue number, and how much each speaks for its key."""

    numbers: NDArray[np.uint32]
    weights: NDArray[np.float64]  # probabilities, or decayed purchases
    probable: bool  # whether they are probabilities


def item_weights(scored: Scored | None, state: State, as_of: int) -> Weights:
    """The calibrated probabilities of the candidates; where nothing is calibrated, the decayed purchases."""
    ranker = scored.view.ranker if scored is not None else None
    if scored is None or ranker is None or ranker.chance is None or not state.orders:
        return Weights(state.bought["item"], decayed(state.bought, as_of), probable=False)
    known = np.isfinite(scored.own)  # not of items that a dislike lowers
    chances = ranker.chance.of(scored.own[known]).astype(np.float64)
    return Weights(scored.numbers[known], chances, probable=True)


def by_key(weights: Weights, keys: Sequence[str | None], first: int) -> list[KeyAffinity]:
    """The `first` keys that the person likes most; `keys` has that of each item, None for an item without one.

    The probability of a key is that of buying at least one of its items, as if each were bought by itself:
    1 - product of (1 - p).
    """
    total: dict[str, float] = {}
    none: dict[str, float] = {}  # log of the probability that no item of the key is bought
    for key, weight in zip(keys, weights.weights.tolist(), strict=True):
        if key is not None and weight > 0:
            total[key] = total.get(key, 0.0) + weight
            if weights.probable:
                none[key] = none.get(key, 0.0) + float(np.log1p(-min(weight, 1 - 1e-9)))
    every = sum(total.values())
    found = [
        KeyAffinity(key, weight / every, chance if chance is not None else weight, chance)
        for key, weight in total.items()
        for chance in [-float(np.expm1(none[key])) if weights.probable else None]
    ]
    return sorted(found, key=lambda one: (-one.score, one.key))[:first]
