"""Which items complete each other: one order holds both more often than chance would have it.

The score is the confidence of the rule "who orders this orders that too", divided by a power of the orders that hold
the other item: at 0 bestsellers complete everything, at 1 it is lift, which favours rare items. A pair needs support by
several people, so that no list tells what one person bought, and lift, so that what is in every order completes nothing
(Brijs et al. 1999, "Using association rules for product assortment decisions").
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.log import Log
from ml.nearest import top_lists
from ml.universe import PEOPLE_TOGETHER

LEAST_LIFT = 1.2  # times as often as by chance an order with one item holds the other
LARGEST = 100  # items: a larger order is a stock-up, and its pairs say little
POPULARITY = 0.25  # the power of the orders that hold the other item
DAMPING = 5.0  # orders added to those of each item, so that few orders of an item say little


def complements(
    log: Log, rows: NDArray[np.int32], items: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(items + 1, most) each: the items that complete each item by row, and their scores; padded as `top_lists` does.

    `rows` is the item's row for each line of the log. The time is the sum of the squares of the orders' sizes.
    """
    orders, owner = _orders_by_items(log, rows, items)
    by_item, sizes, people = orders.tocsc(), np.diff(orders.indptr), len(log.people)
    times = np.diff(by_item.indptr).astype(np.float32)

    def block(start: int, end: int) -> NDArray[np.float32]:
        places = slice(by_item.indptr[start], by_item.indptr[end])
        holding = by_item.indices[places]  # the orders with an item of the block, item by item
        item = np.repeat(np.arange(end - start), np.diff(by_item.indptr[start : end + 1]))
        pair = np.repeat(item, sizes[holding]) * items + _rows_of(orders, holding)
        together = np.bincount(pair, minlength=(end - start) * items).astype(np.float32)
        by_person = np.sort(pair * people + np.repeat(owner[holding], sizes[holding]))
        first = np.diff(by_person, prepend=-1) != 0
        supported = np.bincount(by_person[first] // people, minlength=len(together)) >= PEOPLE_TOGETHER
        together, supported = together.reshape(end - start, items), supported.reshape(end - start, items)
        expected = times[start:end, None] * times / max(len(owner), 1)
        score: NDArray[np.float32] = (
            together / (times[start:end, None] + DAMPING) / (times + DAMPING) ** np.float32(POPULARITY)
        )
        score[~supported | (together < LEAST_LIFT * expected)] = 0
        score[np.arange(end - start), np.arange(start, end)] = 0
        return score

    return top_lists(block, items, most)


def _orders_by_items(log: Log, rows: NDArray[np.int32], items: int) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """(orders, items), an entry where an order of at most LARGEST items holds the item; the person of each order."""
    by = np.lexsort((log.order, log.person))
    change = (np.diff(log.order[by], prepend=-1) != 0) | (np.diff(log.person[by], prepend=-1) != 0)
    shape = int(change.sum()), items
    orders = sparse.csr_array((np.ones(len(log), np.float32), (np.cumsum(change) - 1, rows[by])), shape=shape)
    orders.sum_duplicates()
    kept = np.flatnonzero(np.diff(orders.indptr) <= LARGEST)
    return orders[kept], log.person[by][change][kept].astype(np.int64)


def _rows_of(orders: sparse.csr_array, wanted: NDArray[np.int32]) -> NDArray[np.int64]:
    """The items of these orders, one order after the other."""
    sizes = np.diff(orders.indptr)[wanted]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows: NDArray[np.int64] = orders.indices[np.repeat(orders.indptr[wanted], sizes) + within].astype(np.int64)
    return rows
