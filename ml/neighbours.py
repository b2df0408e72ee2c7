"""Which items are near to each other: the cosine over the people who buy them."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.log import Log
from ml.nearest import top_lists

HALF_LIFE = 180 * 86_400.0  # seconds: of a purchase; with less, little is left of where people buy nothing again
DAMPING = 1.0  # added to each length, so that items bought by one or two people are near to nothing


def people_by_items(log: Log, rows: NDArray[np.int32], items: int, as_of: int) -> sparse.csr_array:
    """(people, items) log1p of each person's decayed purchases; `rows` is the item's row for each line of the log."""
    weight = np.exp2((log.occurred - as_of) / HALF_LIFE).astype(np.float32)
    matrix = sparse.csr_array((weight, (log.person, rows)), shape=(len(log.people), items))
    matrix.sum_duplicates()
    matrix.data = np.log1p(matrix.data)
    return matrix


def near_items(
    log: Log, rows: NDArray[np.int32], items: int, as_of: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(items + 1, most) each: the nearest items of each item by row, and their cosines; padded as `top_lists` does."""
    matrix = people_by_items(log, rows, items, as_of)
    norms = np.sqrt(np.bincount(matrix.indices, matrix.data**2, minlength=items)) + DAMPING
    matrix.data = (matrix.data / norms[matrix.indices]).astype(np.float32)
    by_item = matrix.tocsc()

    def block(start: int, end: int) -> NDArray[np.float32]:
        cosine: NDArray[np.float32] = (by_item[:, start:end].T @ matrix).toarray()
        cosine[np.arange(end - start), np.arange(start, end)] = 0
        return cosine

    return top_lists(block, items, most)
