"""TIFU-kNN: a person's own fading frequencies, mixed with those of the people most alike (Hu et al. 2020).

A person's orders are split into GROUPS of the same number of orders, the newest last. An order fades by WITHIN for each
later order of its group, a group by ACROSS for each later group. The score of an item is OWN times the person's value
plus the rest times the mean of the NEAREST people's, by Euclidean distance.
The person is among the people looked up; of 300 that adds little to what OWN gives. No bundle holds this method: it
looks up the purchases of other people. Memory: the items of at most PEOPLE_LIMIT people, those who bought last.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.baselines.ordering import Numbers, best_first
from ml.evaluation import Method
from ml.log import Log
from ml.state import Table, kept_purchases
from ml.universe import Universe

GROUPS = 7
WITHIN, ACROSS = 0.9, 0.7
NEAREST = 300
OWN = 0.7
PEOPLE_LIMIT = 20_000


def fading_frequencies(
    rows: NDArray[np.int32], order: NDArray[Any], occurred: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The distinct rows of a person's lines, ascending, and the value of each; an order is as old as its first line."""
    if not len(rows):
        return rows, np.empty(0)
    _, by_order = np.unique(order, return_inverse=True)
    began = np.full(by_order.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, by_order, occurred)
    later = np.empty(len(began), np.int64)  # the later orders of each order
    later[np.argsort(-began, kind="stable")] = np.arange(len(began))
    size = -(-len(began) // GROUPS)  # orders of a group; the first group may have fewer
    groups = -(-len(began) // size)
    value = WITHIN ** (later % size) * ACROSS ** (later // size) / (size * groups)
    pairs = np.unique(by_order.astype(np.int64) << 32 | rows)  # an order may have several lines of an item
    found, place = np.unique(pairs & 0xFFFF_FFFF, return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(place, value[pairs >> 32]).astype(np.float64)
    return found.astype(np.int32), sums


def tifu_knn(log: Log, universe: Universe) -> Method:
    """The method, with the people of `log`, whose lines all are before the cut."""
    people = _people(log.of_items(universe.numbers).kept, universe)
    by_item = people.T.tocsr()
    lengths = np.asarray(people.power(2).sum(axis=1)).ravel()
    items, most = len(universe.numbers), min(NEAREST, people.shape[0])

    def method(history: Table, as_of: int) -> Numbers:
        bought = kept_purchases(history)
        rows = universe.rows(bought["item"])
        bought, rows = bought[rows < items], rows[rows < items]
        own, value = fading_frequencies(rows, bought["order"], bought["occurred"])
        scores = np.zeros(items)
        if most:
            closeness = 2 * (by_item[own].T @ value) - lengths
            nearest = np.argpartition(-closeness, most - 1)[:most]
            scores += (1 - OWN) * np.asarray(people[nearest].mean(axis=0)).ravel()
        scores[own] += OWN * value
        return best_first(universe, scores)

    return method


def _people(log: Log, universe: Universe) -> sparse.csr_array:
    """(people, items) the fading frequencies of the people who bought last, at most PEOPLE_LIMIT."""
    starts = np.flatnonzero(np.diff(log.person, prepend=-1))
    ends = np.append(starts[1:], len(log))[: len(starts)]  # of no lines there are no ends
    kept = np.argsort(-log.occurred[ends - 1], kind="stable")[:PEOPLE_LIMIT]  # a person's last line is the newest
    rows = universe.rows(log.item)
    found = []
    for start, end in zip(starts[kept].tolist(), ends[kept].tolist(), strict=True):
        found.append(fading_frequencies(rows[start:end], log.order[start:end], log.occurred[start:end]))
    columns = np.concatenate([np.empty(0, np.int32), *(own for own, _ in found)])
    values = np.concatenate([np.empty(0), *(value for _, value in found)])
    bounds = np.append(0, np.cumsum([len(own) for own, _ in found]))
    return sparse.csr_array((values, columns, bounds), shape=(len(found), len(universe.numbers)))
