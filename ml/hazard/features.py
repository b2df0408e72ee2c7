"""What a forecast looks at: features of people from their states alone, by one function for training and serving."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.state import State

DAY = 86_400.0
YEAR = 365.25  # days
AHEAD = 91  # days: the season that is compared with the year before
WINDOWS = (7, 14, 30, 60, 90, 180, 365)  # days
SPENT = (30, 90, 365)  # days
# The groups are what a forecast is explained by. Counts, days and cents are logarithms of 1 + x.
GROUPS: dict[str, tuple[str, ...]] = {
    "RECENCY": ("quiet",),
    "FREQUENCY": ("orders", "age", "known", *(f"orders_{days}" for days in WINDOWS)),
    "RHYTHM": ("gap", "median_gap", "last_gap", "shortest_gap", "longest_gap", "unevenness", "late", "late_by_median"),
    "TREND": ("trend", "half_life"),
    "SPEND": ("spend", "spend_per_order", *(f"spend_{days}" for days in SPENT), "last_spend"),
    "BREADTH": ("items", "lines_per_order", "last_lines", "rebought"),
    "SEASON": ("ahead_last_year", "sine", "cosine"),
}
FEATURES = Columns(name for names in GROUPS.values() for name in names)
SEASONAL = GROUPS["SEASON"]  # that a log of less than a year and a half cannot teach
GROUP = np.array([group for group, names in enumerate(GROUPS.values()) for _ in names])  # (FEATURES,)

Floats = NDArray[np.float64]


class _Placed(NamedTuple):
    """What happened of several people, one after the other, oldest first: (rows,) each."""

    person: NDArray[np.intp]
    days: Floats  # before the moment
    cents: Floats


def person_features(states: Sequence[State], as_of: int) -> NDArray[np.float32]:
    """(people, FEATURES) as of a second, of people who ordered before it."""
    n = len(states)
    orders, lines = _orders(states, as_of), _lines(states, as_of)
    totals = np.array([(state.orders, state.lines, state.first, state.last, state.spend) for state in states])
    count, all_lines, first, last, spend = totals.reshape(n, 5).T.astype(np.float64)
    count = np.maximum(count, 1)
    quiet, age = np.maximum(as_of - last, 0) / DAY, np.maximum(as_of - first, 0) / DAY
    mean_gap = (age - quiet) / np.maximum(count - 1, 1)
    gaps = _gaps(orders, n)
    inside = {days: _sums(orders, orders.days < days, n) for days in (*WINDOWS, 2 * 90)}
    rows = [state.bought for state in states]
    distinct = np.array([len(each) for each in rows], np.float64)
    again = np.array([(each["lines"] > 1).sum() for each in rows], np.float64)
    last_order = lines.days <= quiet[lines.person] + 0.5
    turn = 2 * np.pi * (as_of / DAY / YEAR)
    log = np.log1p
    values = {
        "quiet": log(quiet),
        "orders": log(count),
        "age": log(age),
        "known": (age - quiet) / np.maximum(age, 1),
        **{f"orders_{days}": log(inside[days]) for days in WINDOWS},
        "gap": log(mean_gap),
        "median_gap": log(gaps.median),
        "last_gap": log(gaps.last),
        "shortest_gap": log(gaps.shortest),
        "longest_gap": log(gaps.longest),
        "unevenness": gaps.spread / (gaps.mean + 1),
        "late": log(quiet / np.maximum(mean_gap, 1)),
        "late_by_median": log(quiet / np.maximum(gaps.median, 1)),
        "trend": log(inside[90]) - log(inside[180] - inside[90]),
        "half_life": log(_sums(orders, np.exp2(-orders.days / 60), n)),
        "spend": log(np.maximum(spend, 0) / 100),
        "spend_per_order": log(np.maximum(spend, 0) / 100 / count),
        **{f"spend_{days}": log(_sums(lines, lines.cents * (lines.days < days), n) / 100) for days in SPENT},
        "last_spend": log(_sums(lines, lines.cents * last_order, n) / 100),
        "items": log(distinct),
        "lines_per_order": log(all_lines / count),
        "last_lines": log(_sums(lines, last_order, n)),
        "rebought": again / np.maximum(distinct, 1),
        "ahead_last_year": log(_sums(orders, (orders.days <= YEAR) & (orders.days > YEAR - AHEAD), n)),
        "sine": np.full(n, np.sin(turn)),
        "cosine": np.full(n, np.cos(turn)),
    }
    return np.stack(FEATURES.ordered(values), axis=1).astype(np.float32)


class _Gaps(NamedTuple):
    """(people,) days between two orders of a person among the newest; 0 without two orders."""

    mean: Floats
    median: Floats
    last: Floats
    shortest: Floats
    longest: Floats
    spread: Floats


def _orders(states: Sequence[State], as_of: int) -> _Placed:
    """The newest orders of each; a day has one order, so that orders of one visit are no rhythm."""
    count = np.array([len(state.recent_orders) for state in states], np.intp)
    times = [state.recent_orders["occurred"] for state in states]
    person = np.repeat(np.arange(len(states)), count)
    occurred = np.concatenate(times).astype(np.float64) if times else np.empty(0)
    by = np.lexsort((occurred, person))
    return _Placed(person[by], np.maximum(as_of - occurred[by], 0) / DAY, np.ones(len(by)))


def _lines(states: Sequence[State], as_of: int) -> _Placed:
    """The newest purchases of each, as far as they were kept."""
    found = [state.ledger.kept for state in states]
    person = np.repeat(np.arange(len(states)), [len(each) for each in found])
    occurred = np.concatenate([each["occurred"] for each in found]).astype(np.float64) if found else np.empty(0)
    cents = np.concatenate([each["cents"] for each in found]).astype(np.float64) if found else np.empty(0)
    return _Placed(person, np.maximum(as_of - occurred, 0) / DAY, np.maximum(cents, 0))


def _sums(placed: _Placed, weights: NDArray[np.float64] | NDArray[np.bool_], n: int) -> Floats:
    return np.bincount(placed.person, weights, minlength=n).astype(np.float64)


def _gaps(orders: _Placed, n: int) -> _Gaps:
    same = np.diff(orders.person) == 0
    gap, person = -np.diff(orders.days)[same], orders.person[1:][same]
    by = np.lexsort((gap, person))
    sorted_gap = np.append(gap[by], 0.0)
    count = np.bincount(person, minlength=n)
    start = np.cumsum(count) - count
    some = count > 0

    def at(place: NDArray[np.intp]) -> Floats:
        result: Floats = np.where(some, sorted_gap[np.where(some, place, 0)], 0.0)
        return result

    total = np.bincount(person, gap, minlength=n)
    mean = total / np.maximum(count, 1)
    spread = np.sqrt(np.bincount(person, (gap - mean[person]) ** 2, minlength=n) / np.maximum(count, 1))
    median = (at(start + (count - 1) // 2) + at(start + count // 2)) / 2
    newest = np.append(gap, 0.0)
    last = np.where(some, newest[np.where(some, start + count - 1, 0)], 0.0)
    return _Gaps(mean, median, last, at(start), at(start + count - 1), spread)
