"""The universe as of a moment, computed from the lines before it alone."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.complements import complements
from ml.ease import ease_lists
from ml.interest_learning import learned
from ml.log import Log, gaps
from ml.neighbours import near_items
from ml.rests import quantile_by_row, rest_times, rests_without_clock
from ml.rules import following_items
from ml.ties import mixed
from ml.universe import COLUMNS, DAY, REBOUGHT, Universe

RECENT = 28 * DAY  # purchases that count for what is popular now
WEEK = 7 * DAY
NEAREST, FOLLOWING, TOGETHER, EASE = 64, 64, 32, 100  # lengths of the lists kept per item
PRIOR = 10.0  # people with the general rebuy share that are mixed with an item's own
TREND_PRIOR = 2.0  # people of each week without a trend that are mixed with an item's own


def best_supported(log: Log, most: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the items with the most purchases, ascending; of equals a hash chooses."""
    return np.sort(by_support(log)[:most])


def by_support(log: Log) -> NDArray[np.uint32]:
    """The catalogue numbers of the bought items, those with the most purchases first; of equals a hash chooses."""
    numbers, lines = np.unique(log.item, return_counts=True)
    return numbers[np.lexsort((mixed(numbers), -lines))]


def snapshot(
    log: Log, numbers: NDArray[np.uint32], as_of: int, *, clockless: bool = False, ease_of: Universe | None = None
) -> Universe:
    """The universe of some items (ascending) as of a second; later lines are ignored.

    The table of EASE takes longer than all others: it may be that of an earlier universe of the same items, `ease_of`.

    If the log is `clockless` its times only say in which order people bought.
    """
    log = log.between(None, as_of).of_items(numbers)
    interest = learned(log)
    log = log.kept
    items = len(numbers)
    rows = np.searchsorted(numbers, log.item).astype(np.int32)
    near, near_score = near_items(log, rows, items, as_of, NEAREST)
    following, following_score = following_items(log, rows, items, FOLLOWING)
    gap_items, gap = gaps(log)
    gap_rows = np.searchsorted(numbers, gap_items).astype(np.int32)
    columns = _columns(log, rows, items, as_of, gap_rows, gap)
    then, then_score = following_items(log, rows, items, FOLLOWING, window=1)
    people, recent_people = (COLUMNS.read(columns[:-1], name) for name in ("people", "recent_people"))
    popular = np.lexsort((mixed(numbers), -people, -recent_people)).astype(np.int32)
    ease, ease_score = (
        ease_lists(log, rows, popular, as_of, EASE) if ease_of is None else (ease_of.ease, ease_of.ease_score)
    )
    return Universe(
        numbers=numbers,
        columns=columns,
        rest=rests_without_clock(len(gap), len(log), items) if clockless else rest_times(gap_rows, gap, items),
        near=near,
        near_score=near_score,
        next=following,
        next_score=following_score,
        popular=popular,
        rebought=_rebought(log, rows, numbers),
        ease=ease,
        ease_score=ease_score,
        then=then,
        then_score=then_score,
        category=_categories(log, numbers),
        interest=interest.table,
        first_share=_first_share(log, rows),
    )


def with_complements(universe: Universe, log: Log, as_of: int) -> Universe:
    """The same universe with what completes its items, as of the same second.

    No ranker reads that, so the universes that training looks back from do without.
    """
    log = log.between(None, as_of).of_items(universe.numbers).kept
    rows = np.searchsorted(universe.numbers, log.item).astype(np.int32)
    together, score = complements(log, rows, len(universe.numbers), TOGETHER)
    return replace(universe, together=together, together_score=score)


def _columns(
    log: Log, rows: NDArray[np.int32], items: int, as_of: int, gap_rows: NDArray[np.int32], gap: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(items + 1, COLUMNS). The last row is for items outside: never bought, and otherwise like the median item."""
    recent = log.occurred >= as_of - RECENT
    people = _people(log.person, rows, items)
    recently = _people(log.person[recent], rows[recent], items)
    last_week = log.occurred >= as_of - WEEK
    this_week = _people(log.person[last_week], rows[last_week], items)
    weekly = max(len(np.unique(log.person[last_week])), 1)
    first = np.full(items, float(as_of))
    np.minimum.at(first, rows, log.occurred)
    active = max(len(np.unique(log.person[recent])), 1)
    again = _people(log.person, rows, items, at_least=2)
    general = again.sum() / max(people.sum(), 1)
    days = np.where(np.bincount(gap_rows, minlength=items) > 0, quantile_by_row(gap_rows, gap, items, 0.5) / DAY, 0)
    usual = float(np.median(gap)) / DAY if len(gap) else 365.0
    known = {
        "people": np.log1p(people),
        "recent_people": np.log1p(1000 * recently / active),
        "rebuy": (again + PRIOR * general) / (people + PRIOR),
        "gap": np.log1p(np.where(days > 0, days, usual)),
        "price": np.log1p(np.maximum(quantile_by_row(rows, log.cents.astype(np.float64), items, 0.5), 0)),
        "week_people": np.log1p(1000 * this_week / weekly),
        "trend": np.log((this_week + TREND_PRIOR) / (recently / 4 + TREND_PRIOR)),
        "on_sale": np.log1p((as_of - first) / DAY),
        "next_order": _in_next_order(log, rows, items),
    }
    price = known["price"].astype(np.float32)
    outside = {
        "people": 0.0,
        "recent_people": 0.0,
        "rebuy": general,
        "gap": np.log1p(usual),
        "price": float(np.median(price)) if items else 0.0,
        "week_people": 0.0,
        "trend": 0.0,
        "on_sale": 0.0,
        "next_order": 0.0,
    }
    columns = np.zeros((items + 1, len(COLUMNS)), np.float32)
    columns[:-1] = np.stack(COLUMNS.ordered(known), axis=1)
    columns[-1] = COLUMNS.ordered(outside)
    return columns


def _in_next_order(log: Log, rows: NDArray[np.int32], items: int) -> NDArray[np.float64]:
    """(items,) the share of the orders of each item whose person's next order holds it again, PRIOR orders mixed in."""
    change = (np.diff(log.order, prepend=-1) != 0) | (np.diff(log.person, prepend=-1) != 0)
    place = np.cumsum(change) - 1  # of each line's order: the log is sorted by person, time and order
    owner = log.person[change]
    pairs = np.unique(rows.astype(np.int64) << 32 | place)
    row, order = pairs >> 32, pairs & 0xFFFFFFFF
    follows = np.append(owner[1:] == owner[:-1], False)[order]  # whether there is a next order
    again = np.append(pairs[1:] == pairs[:-1] + 1, False) & follows
    known, found = (np.bincount(row[some], minlength=items) for some in (follows, again))
    general = found.sum() / max(known.sum(), 1)
    shares: NDArray[np.float64] = (found + PRIOR * general) / (known + PRIOR)
    return shares


def _categories(log: Log, numbers: NDArray[np.uint32]) -> NDArray[np.int32] | None:
    """(items + 1,) the code of each item's category; None where no item has one."""
    if log.category is None or not (log.category >= 0).any():
        return None
    return np.append(log.category[np.searchsorted(log.numbers, numbers)], -1).astype(np.int32)


def _first_share(log: Log, rows: NDArray[np.int32]) -> NDArray[np.float32] | None:
    """(1,) the share of all lines that are a person's first one of an item; None without lines."""
    if not len(rows):
        return None
    firsts = len(np.unique(rows.astype(np.int64) << 32 | log.person))
    return np.array([firsts / len(rows)], np.float32)


def _rebought(log: Log, rows: NDArray[np.int32], numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """(items + 1,) whether, of those who bought an item of its category, a share of REBOUGHT bought that item again.

    An item without a category is a category of its own. False for items outside.
    """
    items = len(numbers)
    pair = rows.astype(np.int64) << 32 | log.person
    by = np.lexsort((log.order, pair))
    pair, order = pair[by], log.order[by]
    first = np.diff(pair, prepend=-1) != 0
    another = ~first & (np.diff(order, prepend=-1) != 0)
    row = pair[first] >> 32
    again = np.zeros(len(row), np.bool_)
    again[np.cumsum(first)[another] - 1] = True
    category = np.full(items, -1)
    if log.category is not None:
        category = log.category[np.searchsorted(log.numbers, numbers)].astype(np.int64)
    category = np.where(category < 0, category.max(initial=0) + 1 + np.arange(items), category)
    of = np.unique(category, return_inverse=True)[1]
    buyers, rebuyers = (np.bincount(of[some], minlength=items) for some in (row, row[again]))
    general = rebuyers.sum() / max(buyers.sum(), 1)
    share = (rebuyers + PRIOR * general) / (buyers + PRIOR)
    return np.append(share[of] >= REBOUGHT, False)


def _people(person: NDArray[np.int32], rows: NDArray[np.int32], items: int, at_least: int = 1) -> NDArray[np.int64]:
    """(items,) how many people bought each item at least so many times."""
    pairs, times = np.unique(rows.astype(np.int64) << 32 | person, return_counts=True)
    return np.bincount(pairs[times >= at_least] >> 32, minlength=items)
