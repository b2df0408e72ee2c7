"""The universe as of a moment: everything about items, computed from what had happened before it and nothing else."""

import numpy as np
from numpy.typing import NDArray

from ml.log import Log, gaps
from ml.neighbours import near_items
from ml.rests import quantile_by_row, rest_times
from ml.rules import following_items
from ml.universe import COLUMNS, DAY, Universe

RECENT = 28 * DAY  # what counts as popular now
NEAREST, FOLLOWING = 64, 32  # lengths of the lists kept per item
PRIOR = 10.0  # people an item's re-buy share is mixed with


def best_supported(log: Log, most: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the items with the most purchases, ascending; ties by number."""
    numbers, lines = np.unique(log.item, return_counts=True)
    return np.sort(numbers[np.lexsort((numbers, -lines))[:most]])


def snapshot(log: Log, numbers: NDArray[np.uint32], as_of: int) -> Universe:
    """The universe of some items (ascending) as of a second: later lines are not looked at."""
    log = log.between(None, as_of).of_items(numbers)
    items = len(numbers)
    rows = np.searchsorted(numbers, log.item).astype(np.int32)
    near, near_score = near_items(log, rows, items, as_of, NEAREST)
    following, following_score = following_items(log, rows, items, FOLLOWING)
    gap_items, gap = gaps(log)
    gap_rows = np.searchsorted(numbers, gap_items).astype(np.int32)
    columns = _columns(log, rows, items, as_of, gap_rows, gap)
    popular = np.lexsort((-columns[:-1, 0], -columns[:-1, 1])).astype(np.int32)
    return Universe(
        numbers=numbers,
        columns=columns,
        rest=rest_times(gap_rows, gap, items),
        near=near,
        near_score=near_score,
        next=following,
        next_score=following_score,
        popular=popular,
    )


def _columns(
    log: Log, rows: NDArray[np.int32], items: int, as_of: int, gap_rows: NDArray[np.int32], gap: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(items + 1, COLUMNS); the last row: nobody bought it, and the rest as of the middle item."""
    recent = log.occurred >= as_of - RECENT
    people = _people(log.person, rows, items)
    lately = _people(log.person[recent], rows[recent], items)
    active = max(len(np.unique(log.person[recent])), 1)
    again = _people(log.person, rows, items, at_least=2)
    general = again.sum() / max(people.sum(), 1)
    days = np.where(np.bincount(gap_rows, minlength=items) > 0, quantile_by_row(gap_rows, gap, items, 0.5) / DAY, 0)
    usual = float(np.median(gap)) / DAY if len(gap) else 365.0
    known = {
        "people": np.log1p(people),
        "recent_people": np.log1p(1000 * lately / active),
        "rebuy": (again + PRIOR * general) / (people + PRIOR),
        "gap": np.log1p(np.where(days > 0, days, usual)),
        "price": np.log1p(np.maximum(quantile_by_row(rows, log.cents.astype(np.float64), items, 0.5), 0)),
    }
    columns = np.zeros((items + 1, len(COLUMNS)), np.float32)
    columns[:-1] = np.stack([known[name] for name in COLUMNS], axis=1)
    columns[-1] = 0.0, 0.0, general, np.log1p(usual), float(np.median(columns[:-1, 4])) if items else 0.0
    return columns


def _people(person: NDArray[np.int32], rows: NDArray[np.int32], items: int, at_least: int = 1) -> NDArray[np.int64]:
    """(items,) how many people bought each item at least so many times."""
    pairs, times = np.unique(rows.astype(np.int64) << 32 | person, return_counts=True)
    return np.bincount(pairs[times >= at_least] >> 32, minlength=items)
