"""Shapley values, computed exactly over all coalitions: how much each of a few parts adds to a value.

A part's share is what it adds to a coalition of other parts, averaged over all orders in which the parts can join.
Shapley, "A Value for n-Person Games", 1953; for models, Lundberg and Lee, "A Unified Approach to Interpreting Model
Predictions", 2017.
"""

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray


def coalitions(parts: int) -> NDArray[np.bool_]:
    """(2^parts, parts) who is in each coalition: row c has the part k when bit k of c is set."""
    members: NDArray[np.bool_] = (np.arange(2**parts)[:, None] >> np.arange(parts) & 1).astype(np.bool_)
    return members


def shapley_values(values: NDArray[Any]) -> NDArray[np.float64]:
    """(parts,) from the value of each coalition (2^parts,), in the order of `coalitions`.

    They add up to the difference between the value of all parts and that of none.

    >>> shapley_values(np.array([0.0, 1.0, 2.0, 5.0])).tolist()  # together they are worth 2 more than alone
    [2.0, 3.0]
    """
    parts = len(values).bit_length() - 1
    members = coalitions(parts)
    weights = np.array([1 / (parts * comb(parts - 1, size)) for size in range(parts)])  # by the size of the coalition
    found = np.zeros(parts)
    for part in range(parts):
        without = np.flatnonzero(~members[:, part])
        found[part] = weights[members[without].sum(axis=1)] @ (values[without | 1 << part] - values[without])
    return found
