"""A person's newest purchases, so that a return can still count against them, and older ones as sums."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.amounts import bounded_sum
from ml.returns import LINE, Table, joined, kept_cents, net, pairs_of

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

    def plus(self, kept: Table, orders: int) -> "Sums":
        """The sums with these lines (LINE, as kept) and orders too."""
        orders = min(self.orders + orders, LARGEST_COUNT)
        if not len(kept):
            return self._replace(orders=orders)
        earliest, latest = int(kept["occurred"].min()), int(kept["occurred"].max())
        return Sums(
            orders=orders,
            lines=min(self.lines + len(kept), LARGEST_COUNT),
            first=min(self.first, earliest) if self.first else earliest,
            last=max(self.last, latest),
            spend=bounded_sum(self.spend + _total(kept["cents"])),
        )


@dataclass(frozen=True, eq=False)
class Ledger:
    """The orders of a person. A line is open while a return can count against it, then settled."""

    lines: Table = field(default_factory=lambda: np.empty(0, LINE))  # open, newest first, at most MOST_LINES
    returns: Table = field(default_factory=lambda: np.empty(0, LINE))  # newest first, at most MOST_RETURNS
    placed: Table = field(default_factory=lambda: np.empty(0, PLACED))  # orders, newest first, at most MOST_ORDERS
    settled: Sums = Sums()  # noqa: RUF009 -- a tuple

    @cached_property
    def kept(self) -> Table:
        """The open lines of which anything was kept, with the units and cents that were, newest first."""
        if not len(self.returns):
            return self.lines
        settled = self.placed["order"][self.placed["settled"] > 0]
        return _as_kept(self.lines, net(self.lines, self.returns, settled).kept)


class Entered(NamedTuple):
    """A ledger after more events, and what follows from it. Lines are as kept: with the units and cents that were."""

    ledger: Ledger
    still_open: Table  # LINE: the open lines of which anything was kept
    settled: Table  # LINE: those of the lines that are settled now
    sums: Sums  # over all lines
    orders: NDArray[np.bool_]  # (ledger.placed,) whether anything of the order was kept


def enter(ledger: Ledger, bought: Table, returned: Table) -> Entered:
    """The ledger after these purchases and returns (LINE), which may come in any order."""
    lines = _newest(joined(np.concatenate([ledger.lines, bought]))[0])
    returns = _newest(np.concatenate([ledger.returns, returned]))
    placed, place, counts = _place(ledger.placed, lines)
    is_open = place < MOST_ORDERS
    is_open &= np.cumsum(is_open) <= MOST_LINES
    kept, by_order, taken = net(lines, returns, placed["order"][placed["settled"] > 0])
    is_settled = ~is_open & (kept > 0)
    settled = _as_kept(lines[is_settled], kept[is_settled])
    if len(returns):
        returns = _still_open(returns, lines[is_open], by_order, [part for part in taken if not is_open[part[1]]])
    orders = placed["settled"] > 0
    orders[place[(kept > 0) & (place < len(placed))]] = True
    placed["settled"][place[is_settled & (place < len(placed))]] = 1
    counted = int((orders & counts)[MOST_ORDERS:].sum())
    placed, orders = placed[:MOST_ORDERS], orders[:MOST_ORDERS]
    sums = ledger.settled.plus(settled, counted)
    still_bought = _as_kept(lines[is_open], kept[is_open])
    after = Ledger(lines[is_open], returns[:MOST_RETURNS], placed, sums)
    return Entered(after, still_bought, settled, sums.plus(still_bought, int(orders.sum())), orders)


def _newest(table: Table) -> Table:
    """The rows (LINE), newest first, in an order that depends on the rows alone."""
    if len(table) < 2:
        return table
    by = np.lexsort([table[name] for name in ("cents", "units", "item", "order", "occurred")])
    return table[by[::-1]]


def _place(placed: Table, lines: Table) -> tuple[Table, NDArray[np.intp], NDArray[np.bool_]]:
    """All orders (PLACED), newest first; the place of each line's order among them; which of them count as orders.

    A line older than all of MOST_ORDERS orders counts as a late line of an order that was already counted.
    """
    both = np.zeros(len(placed) + len(lines), PLACED)
    both[: len(placed)] = placed
    both["order"][len(placed) :], both["occurred"][len(placed) :] = lines["order"], lines["occurred"]
    by = np.lexsort((both["occurred"], both["order"]))
    ordered = both["order"][by]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(by)]
    rows = both[by[is_first]]  # the earliest line dates an order
    group = np.empty(len(by), np.intp)
    group[by] = np.cumsum(is_first) - 1
    known = group[: len(placed)]
    rows["settled"] = 0
    rows["settled"][known] = placed["settled"]
    counts = np.ones(len(rows), np.bool_)
    if len(placed) == MOST_ORDERS:
        counts = rows["occurred"] >= placed["occurred"].min()
        counts[known] = True
    newest = np.lexsort((rows["order"], rows["occurred"], counts))[::-1]
    place = np.empty(len(rows), np.intp)
    place[newest] = np.arange(len(rows))
    return rows[newest], place[group[len(placed) :]], counts[newest]


def _as_kept(lines: Table, kept: NDArray[np.int64]) -> Table:
    """The lines of which anything was kept, with the units and cents that were."""
    if (kept == lines["units"]).all():
        return lines
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
