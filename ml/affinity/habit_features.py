"""Features of a person's habit of buying an item, from the newest orders line by line; and of the whole list.

They stand beside the columns OWN of `ml.affinity.pair_features` and are part of it: training and serving share them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.state import State, Table, age_of
from ml.universe import DAY

HABIT = Columns(  # about an item the person bought; all are 0 for any other item
    (
        "orders_slow",  # share of the newest orders that hold it, the k-th newest weighted .9^k
        "orders_fast",  # ... weighted .7^k
        "fresh",  # 1 / (1 + orders since it was last bought)
        "rate",  # purchases per order since it was first bought
        "waited",  # log1p of the orders since it was last bought over the mean orders between two purchases
        "lateness",  # log of the days since the last purchase over the last gap; the usual gap after one purchase
        "overdue",  # (log of the days since the last purchase - mean log gap) / spread of the log gaps
    )
)
LISTED = Columns(
    (
        "near_share",  # evidence from neighbours against the most that any candidate has
        "next_share",  # evidence from rules against the most that any candidate has
    )
)
HABIT_BY_CLOCK = ("lateness", "overdue")  # mean nothing in a log without a clock
PRIOR_GAPS = 2.0  # gaps of the usual length and spread that are mixed with a person's own
USUAL_SPREAD = 0.8  # of the log of a gap
SHORTEST = 0.25  # days; a shorter gap or age counts as this


def habit_features(
    state: State, rows: Table, usual_gap: NDArray[np.float32], as_of: int
) -> Mapping[str, NDArray[np.float64]]:
    """The columns HABIT (rows,) of rows (ITEM, by item) of the state's items; `usual_gap` in days."""
    slow, fast, gaps = _of_lines(state, rows["item"])
    times = np.sort(state.recent_orders["occurred"])
    since = len(times) - np.searchsorted(times, rows["last"], side="right")
    span = np.maximum(len(times) - np.searchsorted(times, rows["first"]), 1)  # orders since it was first bought
    lines = np.maximum(rows["lines"].astype(np.float64), 1)
    recency = np.log(np.maximum(age_of(rows["last"], as_of) / DAY, SHORTEST))
    usual = np.log(np.maximum(usual_gap.astype(np.float64), SHORTEST))
    count, total, square, last = gaps
    mean = (total + PRIOR_GAPS * usual) / (count + PRIOR_GAPS)
    spread = square - 2 * mean * total + count * mean**2  # of the person's own gaps around the mean
    spread = np.sqrt(np.maximum(spread + PRIOR_GAPS * USUAL_SPREAD**2, 0.01) / (count + PRIOR_GAPS))
    return {
        "orders_slow": slow,
        "orders_fast": fast,
        "fresh": 1 / (1 + since),
        "rate": np.minimum(lines / span, 2.0),
        "waited": np.log1p(since * np.minimum(lines / span, 2.0)),
        "lateness": recency - np.where(count > 0, last, usual),
        "overdue": np.clip((recency - mean) / spread, -6.0, 6.0),
    }


def listed_features(near: NDArray[np.float32], following: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
    """The columns LISTED (pairs,) of all candidates of a list."""
    return {
        "near_share": near / max(float(near.max(initial=0)), 1e-6),
        "next_share": following / max(float(following.max(initial=0)), 1e-6),
    }


_Gaps = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _of_lines(state: State, items: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.float64], _Gaps]:
    """(items,) each: the two weighted shares of orders; and of the log gaps in days count, sum, squares and the last.

    `items` are ascending. Lines that can still be returned are looked at: the newest 128 of at most 64 orders.
    """
    lines, count = state.ledger.lines, len(items)
    orders = state.recent_orders["order"]  # newest first
    if not len(lines) or not len(orders) or not count:
        none = np.zeros(count)
        return none, none, (none, none, none, none)
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
    return (
        shares[0],
        shares[1],
        (np.bincount(of, minlength=count), np.bincount(of, gap, count), np.bincount(of, gap**2, count), last),
    )
