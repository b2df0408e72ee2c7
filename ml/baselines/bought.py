"""Who bought what before a cut, as a sparse matrix: what the tables of neighbours are fitted on."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.log import Log
from ml.nearest import Block, top_lists
from ml.universe import Universe


def people_by_items(log: Log, universe: Universe, items: int | None = None) -> sparse.csr_array:
    """(people, items) 1 where a person bought and kept an item; items by their place in popularity, the first ones."""
    items = len(universe.numbers) if items is None else items
    kept = log.of_items(universe.numbers).kept
    places = universe.places[universe.rows(kept.item)]
    within = places < items
    pairs = np.unique(kept.person[within].astype(np.int64) << 32 | places[within])
    ones = np.ones(len(pairs), np.float32)
    return sparse.csr_array((ones, (pairs >> 32, pairs & 0xFFFF_FFFF)), shape=(len(log.people), items))


def lists_by_row(
    block: Block, universe: Universe, items: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n + 1, most) each, as `top_lists`, by row of the universe, from scores of places in popularity.

    So the more popular of two equal items is kept. Items beyond the first `items` places have no list.
    """
    n = len(universe.numbers)
    found, scores = top_lists(block, items, most)
    row_of = np.append(universe.popular[:items], n).astype(np.int32)
    rows, values = np.full((n + 1, most), n, np.int32), np.zeros((n + 1, most), np.float32)
    rows[row_of[:-1]], values[row_of[:-1]] = row_of[found[:-1]], scores[:-1]
    return rows, values
