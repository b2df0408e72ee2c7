"""What a state alone says of each item the person bought. It is kept with the state: no list computes it again."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.returns import Table
from ml.universe import DAY, HALF_LIFE

SHORTEST = 0.25  # days; a shorter gap or age counts as this
MOST_RATE = 2.0  # purchases per order
FIXED = Columns(  # the features of `ml.affinity.pair_features` that no moment and no model changes
    ("bought", "lines", "share", "since", "orders_slow", "orders_fast", "fresh", "rate", "waited", "spent")
)
HALF_LIVES = (10 * DAY, 180 * DAY)  # seconds: of `Habits.fast` and `Habits.slow`
LEAST_DECAYED = 1e-4  # of a purchase
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Habits:
    """Arrays (items,) of the bought items, by item. At most BYTES of memory for each."""

    items: NDArray[np.uint32]  # catalogue numbers, ascending
    first: Floats  # seconds of the first purchase
    last: Floats
    decayed: Floats  # purchases, each halved every half-life, as of `last`
    fast: Floats  # purchases as of `last`, halved every HALF_LIVES[0]
    slow: Floats  # ... every HALF_LIVES[1]; of older lines than the state keeps line by line, about as many
    gap: Floats  # mean days between two purchases; NaN after one purchase
    fixed: NDArray[np.float32]  # (FIXED, items)
    gaps: Floats  # (4, items) of the logs of the gaps in days: count, sum, sum of squares, the last

    @classmethod
    def of(cls, bought: Table, orders: int, recent_orders: Table, open_lines: Table) -> Self:
        """The habits of a state with these rows of bought items, by item, and so many orders."""
        items = np.ascontiguousarray(bought["item"])
        first, last = bought["first"].astype(np.float64), bought["last"].astype(np.float64)
        lines = np.maximum(bought["lines"].astype(np.float64), 1)
        times = np.sort(recent_orders["occurred"])
        since = len(times) - np.searchsorted(times, np.ascontiguousarray(bought["last"]), side="right")
        span = len(times) - np.searchsorted(times, np.ascontiguousarray(bought["first"]))
        rate = np.minimum(lines / np.maximum(span, 1), MOST_RATE)  # purchases per order since it was first bought
        paid = np.maximum(bought["spend"].astype(np.float64), 0)
        slow, fast, gaps = _of_lines(items, recent_orders["order"], open_lines)
        halved = _halved(bought, lines, open_lines)
        fixed = {
            "bought": np.ones(len(bought)),
            "lines": np.log1p(lines),
            "share": lines / max(orders, 1),
            "since": np.log1p(since),
            "orders_slow": slow,
            "orders_fast": fast,
            "fresh": 1 / (1 + since),
            "rate": rate,
            "waited": np.log1p(since * rate),
            "spent": np.sqrt(paid / max(paid.sum(), 1)),
        }
        gap = np.where(lines > 1, (last - first) / DAY / np.maximum(lines - 1, 1), np.nan)
        decayed = bought["decayed"].astype(np.float64)
        return cls(items, first, last, decayed, *halved, gap, np.array(FIXED.ordered(fixed), np.float32), gaps)


BYTES = 4 + 6 * 8 + len(FIXED) * 4 + 4 * 8  # of one item


def _halved(bought: Table, count: Floats, lines: Table) -> tuple[Floats, Floats]:
    """(items,) `Habits.fast` and `Habits.slow`; `count` are the purchases of each item.

    Older purchases than the open lines are as old as their part of `decayed` says.
    """
    items = len(bought)
    if not items:
        return np.empty(0), np.empty(0)
    at = np.minimum(np.searchsorted(bought["item"], lines["item"]), items - 1)
    known = bought["item"][at] == lines["item"]
    at = at[known]
    age = np.maximum(bought["last"][at].astype(np.float64) - lines["occurred"][known], 0)
    older = np.maximum(count - np.bincount(at, minlength=items), 0)
    own = bought["decayed"] - np.bincount(at, np.exp2(-age / HALF_LIFE), items)
    each = np.maximum(own, LEAST_DECAYED * older) / np.maximum(older, 1)  # of an older purchase
    fast, slow = (
        np.bincount(at, np.exp2(-age / half), items) + older * np.minimum(each, 1) ** (HALF_LIFE / half)
        for half in HALF_LIVES
    )
    return fast, slow


def _of_lines(
    items: NDArray[np.uint32], orders: NDArray[np.uint64], lines: Table
) -> tuple[Floats, Floats, NDArray[Any]]:
    """(items,) two weighted shares of orders, and `Habits.gaps`. `orders` are newest first.

    Lines that can still be returned are looked at: the newest 128 of at most 64 orders.
    """
    count = len(items)
    if not len(lines) or not len(orders) or not count:
        return np.zeros(count), np.zeros(count), np.zeros((4, count))
    at = np.minimum(np.searchsorted(items, lines["item"]), count - 1)
    by_id = np.argsort(orders, kind="stable")
    place = np.minimum(np.searchsorted(orders, lines["order"], sorter=by_id), len(orders) - 1)
    place = by_id[place]
    known = (items[at] == lines["item"]) & (orders[place] == lines["order"])
    at, place, moment = at[known], place[known], lines["occurred"][known].astype(np.float64)
    pairs = np.unique(at * len(orders) + place)
    shares = []
    for keep in (0.9, 0.7):
        weight = keep ** np.arange(len(orders))
        shares.append(np.bincount(pairs // len(orders), weight[pairs % len(orders)], count) / weight.sum())
    by = np.lexsort((moment, at))
    at, place, moment = at[by], place[by], moment[by]
    again = (at[1:] == at[:-1]) & (place[1:] != place[:-1])
    gap = np.log(np.maximum(np.diff(moment)[again] / DAY, SHORTEST))
    of = at[1:][again]
    last = np.zeros(count)
    last[of] = gap  # of several the latest stays
    sums = (np.bincount(of, weights, count) for weights in (None, gap, gap**2))
    return shares[0], shares[1], np.array([*sums, last])
