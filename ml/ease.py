"""EASE: the linear model that foretells each item of a person from the person's other items (Steck 2019).

With X the table of who bought what and P the inverse of X'X + L2 on the diagonal, the weight of item i for item j is
-P[i, j] / P[j, j]. It is exact and has one setting. Weights below zero are dropped. A purchase counts half after
HALF_LIFE, and log1p of their sum is the entry of X.
Cost: cubic in the items, so the ITEM_LIMIT most popular ones, of at most PEOPLE_LIMIT people: 64 MB for the matrix,
as much for its blocks, and two to three seconds on two idle cores.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from ml.log import Log
from ml.nearest import BLOCK, lists_by_row

ITEM_LIMIT = 4_000
PEOPLE_LIMIT = 50_000  # those who bought last; with many more, 32 bits would not do for the inverse
L2 = 100.0
HALF_LIFE = 180 * 86_400.0  # seconds


def ease_lists(
    log: Log, rows: NDArray[np.int32], popular: NDArray[np.int32], as_of: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(items + 1, most) each: the items that each item speaks for by row, and the weights; padded as `top_lists` does.

    `popular` are all rows, the most popular first; `rows` is the item's row for each line of the log.
    """
    items = min(len(popular), ITEM_LIMIT)
    inverse = _inverse(_bought(log, rows, popular, items, as_of))
    scale = -1 / inverse.diagonal()

    def block(start: int, end: int) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = (inverse[start:end] * scale).astype(np.float32, copy=False)
        weights[np.arange(end - start), np.arange(start, end)] = 0
        return weights

    return lists_by_row(block, popular, items, most)


def _bought(log: Log, rows: NDArray[np.int32], popular: NDArray[np.int32], items: int, as_of: int) -> sparse.csr_array:
    """(people, items) log1p of decayed purchases, by the place of the item in popularity."""
    places = np.empty(len(popular), np.int32)
    places[popular] = np.arange(len(popular), dtype=np.int32)
    place = places[rows]
    kept = (place < items) & np.isin(log.person, _latest(log))
    weight = np.exp2((log.occurred[kept] - as_of) / HALF_LIFE).astype(np.float32)
    matrix = sparse.csr_array((weight, (log.person[kept], place[kept])), shape=(len(log.people), items))
    matrix.sum_duplicates()
    matrix.data = np.log1p(matrix.data)
    return matrix


def _latest(log: Log) -> NDArray[np.int32]:
    """The PEOPLE_LIMIT people who bought last."""
    last = np.flatnonzero(np.diff(log.person, append=-1))  # the log is sorted by person, then time
    return log.person[last[np.argsort(-log.occurred[last], kind="stable")[:PEOPLE_LIMIT]]]


def _inverse(bought: sparse.csr_array) -> NDArray[np.float32]:
    """(items, items) the inverse of the regularized products of columns, in place of them: one matrix in memory."""
    items, columns = bought.shape[1], bought.tocsc()
    gram = np.empty((items, items), np.float32, order="F")
    for start in range(0, items, BLOCK):
        end = min(start + BLOCK, items)
        gram[:, start:end] = (columns[:, start:end].T @ bought).toarray().T
    gram[np.diag_indices_from(gram)] += L2
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    assert not failed  # L2 makes it positive definite
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    for start in range(0, items, BLOCK):  # the upper half from the lower one
        end = min(start + BLOCK, items)
        inverse[:start, start:end] = inverse[start:end, :start].T
        inner = inverse[start:end, start:end]
        inner[:] = np.tril(inner) + np.tril(inner, -1).T
    symmetric: NDArray[np.float32] = inverse
    return symmetric
