"""What each group of features adds to the network's logit of one pair, against another pair of the same person.

The method is that of Shapley values over groups, computed exactly over all coalitions: a coalition has the features of
the pair for its groups, and those of the other pair for the rest. Lundberg and Lee, "A Unified Approach to Interpreting
Model Predictions", 2017. The values add up to the difference of the two logits.
"""

from collections.abc import Mapping
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES, OWN, PERSON
from ml.columns import Columns
from ml.universe import COLUMNS

_TIMING: Final = frozenset(
    {"recency", "since", "own_gap", "due", "age", "fresh", "waited", "lateness", "overdue"}
)  # of OWN and HABIT: when the person bought it, against when they usually do
GROUPS: Final = ("OWN_PURCHASES", "TIMING", "SIMILAR_ITEMS", "NEXT_ITEMS", "ITEM", "PERSON", "OTHER")


def group_of(feature: str) -> str:
    """The group of a feature; OTHER for one that nobody has put into a group.

    >>> group_of("lines"), group_of("overdue"), group_of("near"), group_of("price")
    ('OWN_PURCHASES', 'TIMING', 'SIMILAR_ITEMS', 'ITEM')
    """
    if feature in _TIMING:
        return "TIMING"
    if feature in COLUMNS:
        return "ITEM"
    if feature in PERSON:
        return "PERSON"
    if feature in OWN or feature in ("orders_slow", "orders_fast", "rate"):
        return "OWN_PURCHASES"
    known = {"near": "SIMILAR_ITEMS", "next": "NEXT_ITEMS"}
    return known.get(feature, "OTHER")


def contributions(
    network: Network,
    features: NDArray[np.float32],
    other: NDArray[np.float32],
    columns: Columns = FEATURES,
) -> Mapping[str, float]:
    """What each group adds to logit(features) - logit(other), by GROUPS; groups without a difference are left out.

    `features` and `other` are (FEATURES,). There are at most 2 ** len(GROUPS) = 128 runs over one pair.
    """
    of = np.array([GROUPS.index(group_of(name)) for name in columns])
    present = [at for at in range(len(GROUPS)) if not np.array_equal(features[of == at], other[of == at])]
    count = len(present)
    members = np.zeros((2**count, len(GROUPS)), np.bool_)  # (coalitions, groups)
    for bit, at in enumerate(present):
        members[:, at] = np.arange(2**count) >> bit & 1
    logits = network.logits(np.where(members[:, of], features, other)).astype(np.float64)  # (coalitions,)
    found = {}
    for bit, at in enumerate(present):
        rest = [1 << one for one in range(count) if one != bit]
        gains = (
            (logits[with_out | 1 << bit] - logits[with_out]) / (count * comb(count - 1, size))
            for size in range(count)
            for with_out in map(sum, combinations(rest, size))
        )
        found[GROUPS[at]] = float(sum(gains))
    return found
