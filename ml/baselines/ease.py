"""EASE: the linear model that foretells each item of a person from the person's other items (Steck 2019).

With X the table of who bought what and P the inverse of X'X + L2 on the diagonal, the weight of item i for item j is
-P[i, j] / P[j, j]. It is exact and has one setting. Weights below zero are dropped: 100 are kept per item.
Cost: cubic in the items, so the ITEM_LIMIT most popular ones: 200 MB and about ten seconds on two cores.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from ml.baselines.bought import lists_by_row, people_by_items
from ml.baselines.item_tables import ItemTable
from ml.log import Log
from ml.universe import Universe

KEPT = 100  # items of an item
ITEM_LIMIT = 5_000
L2 = 200.0


def ease(log: Log, universe: Universe) -> ItemTable:
    """The weights of each item for others, from the lines of `log`, which all are before the cut."""
    items = min(len(universe.numbers), ITEM_LIMIT)
    inverse = _inverse(people_by_items(log, universe, items))
    scale = -1 / inverse.diagonal()

    def block(start: int, end: int) -> NDArray[np.float32]:
        weights = inverse[start:end] * scale
        weights[np.arange(end - start), np.arange(start, end)] = 0
        found: NDArray[np.float32] = weights.astype(np.float32)
        return found

    return ItemTable(*lists_by_row(block, universe, items, KEPT), fade=1.0)


def _inverse(bought: sparse.csr_array) -> NDArray[np.float64]:
    """(items, items) the inverse of the regularized products of columns, in place of them: one matrix in memory."""
    gram = np.asfortranarray((bought.T @ bought).toarray(), np.float64)
    gram[np.diag_indices_from(gram)] += L2
    factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert not failed  # L2 makes it positive definite
    upper = np.triu_indices_from(inverse, 1)
    inverse[upper] = inverse.T[upper]
    symmetric: NDArray[np.float64] = inverse
    return symmetric
