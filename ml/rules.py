"""Sequential rules: the items people buy in the orders after an item; a nearer order counts more.

This is the rule table of session-based recommenders (Ludewig and Jannach 2018, "sequential rules"), with a person's
orders in place of clicks. The confidence of a rule is divided by a power, POPULARITY, of the consequent's share of
orders: at 0 the rules repeat the popular list, at 1 they are lift and favour rare items.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.log import Log
from ml.nearest import top_lists

WINDOW = 3  # orders that a rule looks ahead
POPULARITY = 0.5
LEAST_PAIRS = 3.0  # a rule seen fewer (weighted) times is dropped


def following_items(
    log: Log, rows: NDArray[np.int32], items: int, most: int, window: int = WINDOW
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(items + 1, most) each: for each item the rows of the items that follow it, and the weight of each rule.

    A rule looks `window` orders ahead.
    """
    orders, ahead = _orders_by_items(log, rows, items, window)
    before = orders.tocsc()
    times = np.asarray(orders.sum(axis=0)).ravel()
    share = np.maximum(times / max(orders.shape[0], 1), 1e-9) ** POPULARITY

    def block(start: int, end: int) -> NDArray[np.float32]:
        pairs = (before[:, start:end].T @ ahead).toarray().astype(np.float32)
        pairs[pairs < LEAST_PAIRS] = 0
        pairs[np.arange(end - start), np.arange(start, end)] = 0
        confidence: NDArray[np.float32] = pairs / np.maximum(times[start:end, None], 1) / share
        return confidence.astype(np.float32, copy=False)

    return top_lists(block, items, most)


def _orders_by_items(
    log: Log, rows: NDArray[np.int32], items: int, window: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """(orders, items) each: the items of an order; those of the person's next orders, weighted 1 / distance."""
    change = (np.diff(log.order, prepend=-1) != 0) | (np.diff(log.person, prepend=-1) != 0)
    index = np.cumsum(change) - 1  # the log is sorted by person, time and order
    owner = log.person[change]
    orders = sparse.csr_array((np.ones(len(log), np.float32), (index, rows)), shape=(len(owner), items))
    orders.data[:] = 1
    ahead = sparse.csr_array(orders.shape, dtype=np.float32)
    for distance in range(1, min(window, len(owner) - 1) + 1):
        same = np.append(owner[distance:] == owner[:-distance], np.zeros(distance, np.bool_))
        steps = np.arange(len(owner))
        shift = sparse.csr_array(
            (same[same].astype(np.float32) / distance, (steps[same], steps[same] + distance)), shape=(len(owner),) * 2
        )
        ahead = ahead + shift @ orders
    return orders, ahead
