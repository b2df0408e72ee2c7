"""What each group of features adds to the network's logit of one pair, against another pair of the same person.

The method is that of Shapley values over groups (`ml.shapley`): a coalition has the features of the pair for its
groups, and those of the other pair for the rest. The values add up to the difference of the two logits.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.affinity.habit_features import HABIT
from ml.affinity.network import Network
from ml.affinity.own_features import OWN
from ml.affinity.pair_features import CATEGORY, FEATURES, PERSON
from ml.affinity.sources import SOURCES
from ml.affinity.visit_features import VISIT, VISITOR
from ml.columns import Columns
from ml.shapley import coalitions, shapley_values
from ml.universe import COLUMNS

_TIMING: Final = frozenset(
    {"recency", "since", "own_gap", "due", "age", "fresh", "waited", "lateness", "overdue"}
)  # of OWN and HABIT: when the person bought it, against when they usually do


class FeatureGroup(StrEnum):
    """Features that belong together."""

    OWN_PURCHASES = "OWN_PURCHASES"
    TIMING = "TIMING"
    SIMILAR_ITEMS = "SIMILAR_ITEMS"
    NEXT_ITEMS = "NEXT_ITEMS"
    SEQUENCE = "SEQUENCE"
    CATEGORY = "CATEGORY"
    SEEN = "SEEN"
    ITEM = "ITEM"
    PERSON = "PERSON"
    OTHER = "OTHER"


GROUPS: Final = tuple(FeatureGroup)
_OF_SOURCE: Final = {  # by the names of SOURCES
    "near": FeatureGroup.SIMILAR_ITEMS,
    "closest": FeatureGroup.SIMILAR_ITEMS,
    "ease": FeatureGroup.SIMILAR_ITEMS,
    "next": FeatureGroup.NEXT_ITEMS,
    "then": FeatureGroup.NEXT_ITEMS,
    "sequence": FeatureGroup.SEQUENCE,
    "seen": FeatureGroup.SEEN,
    "near_seen": FeatureGroup.SEEN,
}


def group_of(feature: str) -> FeatureGroup:
    """The group of a feature; OTHER for one that nobody has put into a group.

    >>> [group_of(name).value for name in ("lines", "overdue", "ease_relative", "price")]
    ['OWN_PURCHASES', 'TIMING', 'SIMILAR_ITEMS', 'ITEM']
    """
    if feature in _TIMING:
        return FeatureGroup.TIMING
    if feature in COLUMNS:
        return FeatureGroup.ITEM
    if feature in (*VISIT, *VISITOR):
        return FeatureGroup.SEEN
    if feature in PERSON:
        return FeatureGroup.PERSON
    if feature in (*OWN, *HABIT):
        return FeatureGroup.OWN_PURCHASES
    if feature in CATEGORY:
        return FeatureGroup.CATEGORY
    source = next((name for name in SOURCES if feature in (name, f"{name}_relative")), "")
    return _OF_SOURCE.get(source, FeatureGroup.OTHER)


def contributions(
    network: Network,
    features: NDArray[np.float32],
    other: NDArray[np.float32],
    columns: Columns = FEATURES,
) -> Mapping[FeatureGroup, float]:
    """What each group adds to logit(features) - logit(other), by GROUPS; groups without a difference are left out.

    `features` and `other` are (FEATURES,). There are at most 2 ** len(GROUPS) = 1,024 runs over one pair.
    """
    of = np.array([GROUPS.index(group_of(name)) for name in columns])
    present = [at for at in range(len(GROUPS)) if not np.array_equal(features[of == at], other[of == at])]
    joined = coalitions(len(present))
    members = np.zeros((len(joined), len(GROUPS)), np.bool_)  # (coalitions, groups)
    members[:, present] = joined
    logits = network.logits(np.where(members[:, of], features, other)).astype(np.float64)  # (coalitions,)
    return {GROUPS[at]: value for at, value in zip(present, shapley_values(logits).tolist(), strict=True)}
