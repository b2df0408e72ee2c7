"""A choice between variants on the validation span: the first one, unless another is better beyond its standard error.

Put the variant first that should be taken where the people cannot tell them apart: the simplest, or the one that is
trained longest. (The one-standard-error rule; Breiman et al. 1984, with differences paired by person.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Choice:
    """The name of the chosen variant, and the mean NDCG@10 of each."""

    name: str
    ndcg: dict[str, float]
    people: int


def best_of(values: Mapping[str, NDArray[np.float64]]) -> Choice:
    """Choose by one value per person, (people,) of each variant on the same people, larger is better.

    A variant replaces the one chosen so far when its mean is above that by more than one standard error of the paired
    difference. Values that are not finite lose to all others.

    >>> same = np.array([0.2, 0.4, 0.3, 0.5])
    >>> best_of({"plain": same, "luckier": same + np.array([0.3, -0.2, 0.0, 0.0])}).name
    'plain'
    >>> best_of({"plain": same, "better": same + 0.1}).name
    'better'
    """
    names = list(values)
    chosen = names[0]
    for name in names[1:]:
        if _is_better(values[name], values[chosen]):
            chosen = name
    means = {name: float(each.mean()) if len(each) else 0.0 for name, each in values.items()}
    return Choice(chosen, means, len(values[chosen]))


def _is_better(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    if not np.isfinite(one).all() or not len(one):
        return False
    if not np.isfinite(other).all():
        return True
    ahead = one - other
    return bool(ahead.mean() > ahead.std() / np.sqrt(len(ahead)))
