"""How long an item rests after it was bought: learned from how soon people bought it again."""

import numpy as np
from numpy.typing import NDArray

from ml.state import State, Table
from ml.universe import DAY, HOUR, Universe

SHORTEST_REST = 6 * HOUR  # of an item just bought, whatever was observed
QUANTILE = 0.005  # the share of the observed rebuys that the rest time would have hidden
PRIOR = 20.0  # rebuys of all items that are mixed with an item's own
NEVER = 365 * DAY  # used when no item was ever bought twice


def resting(universe: Universe | None, state: State, as_of: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the person's items that were bought too recently to be wanted again."""
    bought = state.bought
    numbers: NDArray[np.uint32] = bought["item"][as_of - bought["last"].astype(np.float64) < _rests(universe, bought)]
    return numbers


def rests_until(universe: Universe | None, state: State, number: int) -> int | None:
    """The second at which a bought item has rested; None for an item that the person did not buy."""
    bought = state.bought[state.bought["item"] == number]
    if not len(bought):
        return None
    return int(bought["last"][0]) + int(np.ceil(np.broadcast_to(_rests(universe, bought), 1)[0]))


def _rests(universe: Universe | None, bought: Table) -> NDArray[np.float32] | np.float32:
    """(items,) seconds that each bought item rests."""
    return universe.rest[universe.rows(bought["item"])] if universe else np.float32(SHORTEST_REST)


def rest_times(rows: NDArray[np.int32], gaps: NDArray[np.float64], items: int) -> NDArray[np.float32]:
    """(items + 1,) seconds: a low quantile of the item's rebuy gaps, shrunk towards that of all gaps.

    `rows` and `gaps` are the item and the seconds of each observed rebuy. The last place is for items outside the
    universe.
    """
    if not len(gaps):
        return np.full(items + 1, NEVER, np.float32)
    general = np.log(max(float(np.quantile(gaps, QUANTILE)), 1.0))
    own = np.log(np.maximum(quantile_by_row(rows, gaps, items, QUANTILE), 1.0))
    count = np.bincount(rows, minlength=items)
    mixed = np.where(count > 0, (count * own + PRIOR * general) / (count + PRIOR), general)
    rest: NDArray[np.float32] = np.maximum(np.exp(np.append(mixed, general)), SHORTEST_REST).astype(np.float32)
    return rest


def rests_without_clock(rebuys: int, lines: int, items: int) -> NDArray[np.float32]:
    """(items + 1,) seconds: no rest where people buy items again, else NEVER. For a log without a clock."""
    return np.full(items + 1, 0.0 if rebuys > QUANTILE * lines else NEVER, np.float32)


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
