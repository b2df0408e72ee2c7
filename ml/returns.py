"""Which purchases are kept: returns are counted against lines of orders, whatever order the events arrive in.

A purchase is what one order has of one item: its equal lines are joined first (`joined`), so that their quantities and
amounts add up and the purchase counts once.
A return with an order counts against that order's lines of the item. A return without one, or whose order has no line
of the item, counts against the item's lines from before it, newest first. What is left over waits for its purchase.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.amounts import LARGEST_SUM

Table = NDArray[Any]  # a structured array: its dtype is named beside it

LINE = np.dtype(
    [
        ("order", "<u8"),  # 0 = a return that names no order
        ("item", "<u4"),  # 0 = an unknown item, which is returned by its order only
        ("occurred", "<u4"),  # seconds
        ("units", "<u4"),  # at least 1
        ("cents", "<i8"),  # of all units; not used of a return
    ]
)

MOST_UNITS = 2**31 - 1  # of a line
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two items have the same product


class Netted(NamedTuple):
    """What was kept of some lines."""

    kept: NDArray[np.int64]  # (lines,) units that were not returned
    by_order: NDArray[np.bool_]  # (returns,) those counted against lines of their order
    taken: list[tuple[int, int, int]]  # (return, line, units) of the others


def joined(lines: Table) -> tuple[Table, NDArray[np.intp]]:
    """The lines (LINE) with those of one order and item as one, and the place of the earliest of each.

    Units and cents add up, and the time is the earliest; joining in parts equals joining at once. Lines of unknown
    items stay as they are: they may be of different items.
    """
    places = np.arange(len(lines))
    if len(lines) < 2:
        return lines, places
    pairs = pairs_of(lines)
    by = np.lexsort((lines["occurred"], lines["item"], pairs))
    pair, item = pairs[by], lines["item"][by]
    begins = np.append(True, (pair[1:] != pair[:-1]) | (item[1:] != item[:-1]) | (item[1:] == 0))
    starts = np.flatnonzero(begins)
    if len(starts) == len(lines):
        return lines, places
    whole = lines.take(by[starts])
    whole["units"] = np.minimum(np.add.reduceat(lines["units"][by].astype(np.int64), starts), MOST_UNITS)
    whole["cents"] = totals(lines["cents"][by], starts)
    return whole, by[starts]


def totals(cents: NDArray[np.int64], starts: NDArray[np.intp]) -> NDArray[np.int64]:
    """The sum from each start to the next, exact beyond 64 bits, then at most LARGEST_SUM in either direction."""
    low = np.add.reduceat(cents & 0xFFFF_FFFF, starts)
    high = np.clip(np.add.reduceat(cents >> 32, starts) + (low >> 32), -(2**22), 2**22)
    sums: NDArray[np.int64] = np.clip((high << 32) + (low & 0xFFFF_FFFF), -LARGEST_SUM, LARGEST_SUM)
    return sums


def net(lines: Table, returns: Table, settled: NDArray[np.uint64] | None = None) -> Netted:
    """Count returns against lines (both LINE), in any order. Of both, an item has one number for one person.

    Of `settled` orders not all lines are given: a return from one of them counts against no other order.
    """
    kept = lines["units"].astype(np.int64)
    by_order = np.zeros(len(returns), np.bool_)
    concerned = np.flatnonzero(np.isin(lines["item"], returns["item"])) if len(returns) else np.empty(0, np.intp)
    if not len(concerned):
        return Netted(kept, by_order, [])
    # Newest first; lines that are alike in time and size are told apart by their price.
    concerned = concerned[np.lexsort([lines[name][concerned] for name in ("cents", "units", "occurred")])[::-1]]
    by_order = _take_by_order(kept, lines, returns, concerned)
    rest = ~by_order & (returns["item"] > 0)
    if settled is not None:
        rest &= ~np.isin(returns["order"], settled)
    return Netted(kept, by_order, _take_by_item(kept, lines, returns, concerned, np.flatnonzero(rest)))


def is_in(values: NDArray[Any], ascending: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value occurs in a sorted array. Several times faster than `np.isin` for arrays of hundreds."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    found: NDArray[np.bool_] = ascending[np.minimum(ascending.searchsorted(values), len(ascending) - 1)] == values
    return found


def pairs_of(table: Table) -> NDArray[np.uint64]:
    """A hash of order and item for each row of LINE."""
    hashes: NDArray[np.uint64] = table["order"] ^ (table["item"].astype(np.uint64) * _SPREAD)
    return hashes


def kept_cents(lines: Table, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cents of the units that were kept, rounded down."""
    units = np.maximum(lines["units"].astype(np.int64), 1)
    whole, rest = np.divmod(lines["cents"], units)
    cents: NDArray[np.int64] = whole * kept + rest * kept // units
    return cents


def _take_by_order(
    kept: NDArray[np.int64], lines: Table, returns: Table, concerned: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Take returned units from `kept` of the same order and item; returns which returns have such a line."""
    both = np.concatenate([pairs_of(lines[concerned]), pairs_of(returns)])
    pair = np.unique(both, return_inverse=True)[1].astype(np.int64)
    of_line, of_return = pair[: len(concerned)], pair[len(concerned) :]
    found = (returns["order"] > 0) & np.isin(of_return, of_line)
    returned = np.zeros(len(both), np.int64)
    np.add.at(returned, of_return[found], returns["units"][found].astype(np.int64))
    by_pair = np.argsort(of_line, kind="stable")  # newest first within a pair
    rows, pairs = concerned[by_pair], of_line[by_pair]
    through = np.cumsum(kept[rows])
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    before = through - kept[rows]
    before -= np.repeat(before[starts], np.diff(starts, append=len(rows)))
    kept[rows] -= np.clip(returned[pairs] - before, 0, kept[rows])
    return found


def _take_by_item(
    kept: NDArray[np.int64], lines: Table, returns: Table, concerned: NDArray[np.intp], rest: NDArray[np.intp]
) -> list[tuple[int, int, int]]:
    """Take units from `kept`: for each return, oldest first, from the newest lines of the item up to its time."""
    taken: list[tuple[int, int, int]] = []
    oldest_first = concerned[::-1][np.isin(lines["item"][concerned[::-1]], returns["item"][rest])]
    lines_of, returns_of = (
        _by_item(lines, oldest_first),
        _by_item(returns, rest[np.lexsort((returns["occurred"][rest],))]),
    )
    for item, given_back in returns_of.items():
        waiting, left = lines_of.get(item, [])[::-1], dict[int, int]()
        bought: list[int] = []  # lines so far, the newest last
        for place in given_back:
            moment, wanted = int(returns["occurred"][place]), int(returns["units"][place])
            while waiting and int(lines["occurred"][waiting[-1]]) <= moment:
                bought.append(waiting.pop())
                left[bought[-1]] = int(kept[bought[-1]])
            while wanted and bought:
                units = min(wanted, left[bought[-1]])
                if units:
                    taken.append((place, bought[-1], units))
                    wanted, left[bought[-1]] = wanted - units, left[bought[-1]] - units
                if not left[bought[-1]]:
                    kept[bought.pop()] = 0
        for line in bought:
            kept[line] = left[line]
    return taken


def _by_item(table: Table, places: NDArray[np.intp]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for item, place in zip(table["item"][places].tolist(), places.tolist(), strict=True):
        found.setdefault(item, []).append(place)
    return found
