"""For each item the other items with the highest scores, block by block: the full table is never in memory."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BLOCK = 500  # items compared with all at once: 500 x 10,000 floats are 20 MB
Block = Callable[[int, int], NDArray[np.float32]]  # (start, end) -> scores (end - start, items)


def top_lists(block: Block, items: int, most: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(items + 1, most) each: rows of the best other items, best first, padded with `items`; scores, padded with 0.

    The last row is all padding: it is for an item outside the table.
    """
    rows = np.full((items + 1, most), items, np.int32)
    scores = np.zeros((items + 1, most), np.float32)
    kept = min(most, items)
    for start in range(0, items, BLOCK):
        end = min(start + BLOCK, items)
        found = block(start, end)
        best = np.argpartition(-found, kept - 1, axis=1)[:, :kept]
        value = np.take_along_axis(found, best, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        rows[start:end, :kept] = np.take_along_axis(best, order, axis=1)
        scores[start:end, :kept] = np.take_along_axis(value, order, axis=1)
    rows[scores <= 0] = items
    scores[scores <= 0] = 0
    return rows, scores


def lists_by_row(
    block: Block, popular: NDArray[np.int32], items: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n + 1, most) each, as `top_lists`, by row, from scores of places in popularity.

    `popular` are all n rows, the most popular first: so the more popular of two equal items is kept. Items beyond the
    first `items` places have no list.
    """
    n = len(popular)
    found, scores = top_lists(block, items, most)
    row_of = np.append(popular[:items], n).astype(np.int32)
    rows, values = np.full((n + 1, most), n, np.int32), np.zeros((n + 1, most), np.float32)
    rows[row_of[:-1]], values[row_of[:-1]] = row_of[found[:-1]], scores[:-1]
    return rows, values
