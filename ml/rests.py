"""How long an item stays away after it was bought: from how soon people were seen to buy it again."""

import numpy as np
from numpy.typing import NDArray

from ml.universe import DAY, SHORTEST_REST

QUANTILE = 0.005  # so many of the observed re-buys would have been missed
PRIOR = 20.0  # re-buys of all items together that an item's own are mixed with
NEVER = 365 * DAY  # where nobody ever buys anything twice


def rest_times(rows: NDArray[np.int32], gaps: NDArray[np.float64], items: int) -> NDArray[np.float32]:
    """(items + 1,) seconds: the low quantile of the item's re-buy gaps, shrunk towards that of all gaps.

    `rows` and `gaps` are the item and the seconds of each observed re-buy. The last place is for other items.
    """
    if not len(gaps):
        return np.full(items + 1, NEVER, np.float32)
    general = np.log(max(float(np.quantile(gaps, QUANTILE)), 1.0))
    own = np.log(np.maximum(quantile_by_row(rows, gaps, items, QUANTILE), 1.0))
    count = np.bincount(rows, minlength=items)
    mixed = np.where(count > 0, (count * own + PRIOR * general) / (count + PRIOR), general)
    rest: NDArray[np.float32] = np.maximum(np.exp(np.append(mixed, general)), SHORTEST_REST).astype(np.float32)
    return rest


def quantile_by_row(
    rows: NDArray[np.int32], values: NDArray[np.float64], items: int, quantile: float
) -> NDArray[np.float64]:
    """(items,) the lower quantile of the values of each row; 0 for rows without any."""
    order = np.lexsort((values, rows))
    count = np.bincount(rows, minlength=items)
    start = np.cumsum(count) - count
    place = start + ((count - 1) * quantile).astype(np.int64)
    result = np.zeros(items)
    result[count > 0] = values[order][place[count > 0]]
    return result
