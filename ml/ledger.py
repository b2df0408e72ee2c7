"""A person's newest orders line by line, so that a return can still count against them, and older ones as sums."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.amounts import bounded_sum
from ml.returns import LINE, Table, kept_cents, net, pairs_of

PLACED = np.dtype([("order", "<u8"), ("occurred", "<u4"), ("settled", "u1")])  # 1 = a line it keeps is settled
MOST_LINES, MOST_RETURNS, MOST_ORDERS = 128, 64, 64
LARGEST_COUNT = 2**32 - 1  # of orders and lines


class Sums(NamedTuple):
    """Sums over purchases that were kept."""

    orders: int = 0
    lines: int = 0
    first: int = 0  # seconds of the first purchase; 0 = none
    last: int = 0
    spend: int = 0  # cents; at most LARGEST_SUM

    def plus(self, lines: Table, kept: NDArray[np.int64], orders: int) -> "Sums":
        """The sums with these lines and orders too."""
        is_kept = kept > 0
        if not is_kept.any():
            return self._replace(orders=min(self.orders + orders, LARGEST_COUNT))
        times = lines["occurred"][is_kept]
        earliest = int(times.min())
        return Sums(
            orders=min(self.orders + orders, LARGEST_COUNT),
            lines=min(self.lines + int(is_kept.sum()), LARGEST_COUNT),
            first=min(self.first, earliest) if self.first else earliest,
            last=max(self.last, int(times.max())),
            spend=bounded_sum(self.spend + _total(kept_cents(lines, kept))),
        )


@dataclass(frozen=True, eq=False)
class Ledger:
    """The orders of a person. A line is open while a return can count against it, then settled."""

    lines: Table = field(default_factory=lambda: np.empty(0, LINE))  # open, newest first, at most MOST_LINES
    returns: Table = field(default_factory=lambda: np.empty(0, LINE))  # newest first, at most MOST_RETURNS
    placed: Table = field(default_factory=lambda: np.empty(0, PLACED))  # orders, newest first, at most MOST_ORDERS
    settled: Sums = Sums()  # noqa: RUF009 -- a tuple


class Entered(NamedTuple):
    """A ledger after more events, and what follows from it."""

    ledger: Ledger
    kept: NDArray[np.int64]  # (ledger.lines,) units that were not returned
    settled: Table  # LINE: what was kept of the lines that are settled now; their units and cents are those kept
    sums: Sums  # over all lines
    orders: NDArray[np.bool_]  # (ledger.placed,) whether anything of the order was kept


def enter(ledger: Ledger, bought: Table, returned: Table) -> Entered:
    """The ledger after these purchases and returns (LINE), which may come in any order."""
    lines = _newest(np.concatenate([ledger.lines, bought]))
    returns = _newest(np.concatenate([ledger.returns, returned]))
    placed, left = _place(ledger.placed, lines)
    is_open = np.isin(lines["order"], placed["order"])
    is_open &= np.cumsum(is_open) <= MOST_LINES
    kept, by_order, taken = net(lines, returns, placed["order"][placed["settled"] > 0])
    still_bought = lines["order"][kept > 0]
    counted = int(((left["settled"] > 0) | np.isin(left["order"], still_bought)).sum())
    settled = as_kept(lines[~is_open], kept[~is_open])
    placed["settled"] |= np.isin(placed["order"], settled["order"])
    if len(returns):
        returns = _still_open(returns, lines[is_open], by_order, [part for part in taken if not is_open[part[1]]])
    sums = ledger.settled.plus(settled, settled["units"].astype(np.int64), counted)
    after = Ledger(lines[is_open], returns[:MOST_RETURNS], placed, sums)
    orders = (placed["settled"] > 0) | np.isin(placed["order"], still_bought)
    return Entered(after, kept[is_open], settled, sums.plus(after.lines, kept[is_open], int(orders.sum())), orders)


def _newest(table: Table) -> Table:
    """The rows (LINE), newest first, in an order that depends on the rows alone."""
    if len(table) < 2:
        return table
    by = np.lexsort([table[name] for name in ("cents", "units", "item", "order", "occurred")])
    return table[by[::-1]]


def _place(placed: Table, lines: Table) -> tuple[Table, Table]:
    """The newest orders, and those that are dropped from them.

    A line older than all of MOST_ORDERS orders counts as a late line of an order that was already counted.
    """
    rows = np.zeros(len(lines), PLACED)
    rows["order"], rows["occurred"] = lines["order"], lines["occurred"]
    rows = np.concatenate([placed, rows])
    rows = rows[np.lexsort((rows["occurred"], rows["order"]))]
    starts = np.flatnonzero(np.diff(rows["order"], prepend=np.uint64(0)))
    settled = np.maximum.reduceat(rows["settled"], starts) if len(starts) else rows["settled"]
    rows = rows[starts]  # the earliest line dates an order
    rows["settled"] = settled
    if len(placed) == MOST_ORDERS:
        rows = rows[np.isin(rows["order"], placed["order"]) | (rows["occurred"] >= placed["occurred"].min())]
    rows = rows[np.lexsort((rows["order"], rows["occurred"]))[::-1]]
    return rows[:MOST_ORDERS], rows[MOST_ORDERS:]


def as_kept(lines: Table, kept: NDArray[np.int64]) -> Table:
    """The lines of which anything was kept, with the units and cents that were."""
    result = lines[kept > 0].copy()
    result["cents"] = kept_cents(lines, kept)[kept > 0]
    result["units"] = kept[kept > 0]
    return result


def _still_open(returns: Table, lines: Table, by_order: NDArray[np.bool_], taken: list[tuple[int, int, int]]) -> Table:
    """The returns without what was counted against lines that are settled now; `lines` are the open ones."""
    returns = returns.copy()
    for place, _, units in taken:
        returns["units"][place] -= units
    returns["units"][by_order & ~np.isin(pairs_of(returns), pairs_of(lines))] = 0
    return returns[returns["units"] > 0]


def _total(cents: NDArray[np.int64]) -> int:
    """The sum, exact beyond 64 bits."""
    return (int((cents >> 32).sum()) << 32) + int((cents & 0xFFFF_FFFF).sum())
