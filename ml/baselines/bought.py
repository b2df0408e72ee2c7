"""Who bought what before a cut, as a sparse matrix: what the tables of neighbours are fitted on."""

import numpy as np
from scipy import sparse

from ml.log import Log
from ml.universe import Universe


def people_by_items(log: Log, universe: Universe) -> sparse.csr_array:
    """(people, items) 1 where a person bought and kept an item; items by their place in popularity."""
    kept = log.of_items(universe.numbers).kept
    places = universe.places[universe.rows(kept.item)].astype(np.int64)
    pairs = np.unique(kept.person.astype(np.int64) << 32 | places)
    ones = np.ones(len(pairs), np.float32)
    return sparse.csr_array((ones, (pairs >> 32, pairs & 0xFFFF_FFFF)), shape=(len(log.people), len(universe.numbers)))
