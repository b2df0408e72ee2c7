"""One person's state: packed arrays that events are folded into, the same way in training and in serving."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.amounts import LARGEST_SUM, bounded_sum
from core.contract import EventType
from core.errors import PenchantError

Table = NDArray[Any]  # a structured array: its dtype is named beside it

EVENT = np.dtype(
    [
        ("identity", "<u8"),
        ("type", "u1"),  # index in list(EventType)
        ("item", "<u4"),  # catalogue number; 0 = no item, or an unknown one
        ("occurred", "<i8"),  # seconds
        ("quantity", "<i4"),
        ("cents", "<i8"),  # of the whole line
        ("order", "<u8"),  # 0 = none given: lines of one second are one order
    ]
)
ITEM = np.dtype(
    [
        ("item", "<u4"),
        ("lines", "<u2"),  # purchases, at most 65,535
        ("views", "<u2"),  # views, clicks, likes, ratings and cart adds, at most 65,535
        ("first", "<u4"),  # seconds of the first purchase; 0 = never bought
        ("last", "<u4"),
        ("viewed", "<u4"),  # seconds of the last view or the like
        ("decayed", "<f4"),  # purchases, each halved every HALF_LIFE, as of `last`
        ("spend", "<i8"),  # cents, returns deducted; at most LARGEST_SUM in either direction
    ]
)
RECENT = np.dtype([("item", "<u4"), ("type", "u1"), ("occurred", "<u4")])
ORDER = np.dtype([("order", "<u8"), ("occurred", "<u4")])

CODE = {kind: code for code, kind in enumerate(EventType)}
PURCHASE, RETURN = CODE[EventType.PURCHASE], CODE[EventType.RETURN]
INTEREST = np.isin(  # by type code
    list(EventType), [EventType.VIEW, EventType.CLICK, EventType.ADD_TO_CART, EventType.RATING, EventType.LIKE]
)
NOT_RECENT = np.isin(list(EventType), [EventType.SEARCH, EventType.IMPRESSION])  # by type code; not in `recent`

MOST_ITEMS, MOST_RECENT, MOST_ORDERS, MOST_INCLUDED = 512, 32, 64, 1024
HALF_LIFE = 42 * 86_400.0  # seconds
VIEW_WEIGHT = 0.1  # of a viewed item against a bought one, when a person has more items than are kept
LARGEST_COUNT = LATEST = 2**32 - 1  # of orders and lines; seconds
_HEAD = struct.Struct("<4sHHHHIIIIq")
_MAGIC = b"PST1"


class StateDamaged(PenchantError):
    """A packed state cannot be read."""


@dataclass(frozen=True, slots=False, eq=False)
class State:
    """One person's purchases and interests; never changed, only folded into a new one."""

    items: Table = field(default_factory=lambda: np.empty(0, ITEM))  # by item, at most MOST_ITEMS
    recent: Table = field(default_factory=lambda: np.empty(0, RECENT))  # newest first, at most MOST_RECENT
    recent_orders: Table = field(default_factory=lambda: np.empty(0, ORDER))  # newest first, at most MOST_ORDERS
    included: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))  # sorted
    orders: int = 0
    lines: int = 0
    first: int = 0  # seconds of the first purchase; 0 = never bought
    last: int = 0
    spend: int = 0  # cents, returns deducted; at most LARGEST_SUM in either direction

    @classmethod
    def empty(cls) -> Self:
        """The state of a person without events."""
        return cls()

    @cached_property
    def bought(self) -> Table:
        """The rows of `items` with a purchase."""
        return self.items[self.items["lines"] > 0]

    def with_included(self, identities: Sequence[int] | NDArray[np.uint64]) -> Self:
        """Remember identities (oldest first) as counted, so that `fold` skips them; the newest 1,024 are kept."""
        both = np.concatenate([self.included, np.asarray(identities, np.uint64)])
        return replace(self, included=np.unique(both[-MOST_INCLUDED:]))

    def pack(self) -> bytes:
        """The state as bytes, with a version and a checksum."""
        head = _HEAD.pack(
            _MAGIC, len(self.items), len(self.recent), len(self.recent_orders), len(self.included),
            self.orders, self.lines, self.first, self.last, self.spend,
        )  # fmt: skip
        tables = (self.items, self.recent, self.recent_orders, self.included)
        body = b"".join([head, *(table.tobytes() for table in tables)])
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The state that was packed. Raises `StateDamaged` for other, cut or changed bytes."""
        if len(packed) < _HEAD.size + 4 or packed[:4] != _MAGIC:
            raise StateDamaged(f"not a packed state of this version: {packed[:4]!r}, {len(packed)} bytes")
        body = packed[:-4]
        if zlib.crc32(body) != int.from_bytes(packed[-4:], "little"):
            raise StateDamaged("the checksum of a packed state does not match its bytes")
        _, *counts, orders, lines, first, last, spend = _HEAD.unpack_from(body)
        tables: list[Table] = []
        offset = _HEAD.size
        for dtype, count in zip((ITEM, RECENT, ORDER, np.dtype("<u8")), counts, strict=True):
            tables.append(np.frombuffer(body, dtype, count, offset))
            offset += dtype.itemsize * count
        items, recent, recent_orders, included = tables
        return cls(items, recent, recent_orders, included, orders, lines, first, last, spend)


def fold(state: State, events: Table) -> State:
    """The state after these events (dtype EVENT), which may come in any order.

    An identity counts once, also when it occurs twice or is in `state.included`. Folding in parts equals folding at
    once (`decayed` to float precision), as long as the person has no more items and orders than are kept, and no count
    or sum has reached its bound, where it stays.
    """
    events = _uncounted(state, events)
    if not len(events):
        return state
    bought = events[events["type"] == PURCHASE]
    orders, fresh = _fold_orders(state, bought)
    times = bought["occurred"]
    return State(
        items=_fold_items(state.items, events[events["item"] > 0]),
        recent=_fold_recent(state.recent, events[events["item"] > 0]),
        recent_orders=orders,
        included=state.included,
        orders=min(state.orders + fresh, LARGEST_COUNT),
        lines=min(state.lines + len(bought), LARGEST_COUNT),
        first=_earliest(state.first, int(times.min())) if len(bought) else state.first,
        last=max(state.last, int(times.max())) if len(bought) else state.last,
        spend=bounded_sum(state.spend + _total(bought["cents"]) - _total(events["cents"][events["type"] == RETURN])),
    )


def decayed(rows: Table, as_of: int) -> NDArray[np.float64]:
    """The decayed purchases of rows of a state's items, as of a second."""
    result: NDArray[np.float64] = rows["decayed"] * np.exp2(-age_of(rows["last"], as_of) / HALF_LIFE)
    return result


def age_of(moment: NDArray[np.uint32], as_of: int) -> NDArray[np.float64]:
    """The seconds from each moment to `as_of`; 0 for a later moment."""
    return np.maximum(as_of - moment.astype(np.float64), 0)


def _earliest(first: int, other: int) -> int:
    return min(first, other) if first else other


def _uncounted(state: State, events: Table) -> Table:
    """The events not counted yet, once each, in an order that depends on the events alone."""
    identities, index = np.unique(events["identity"], return_index=True)
    if len(state.included):
        index = index[~np.isin(identities, state.included)]
    events = events[index]
    events["occurred"] = np.minimum(events["occurred"], LATEST)
    return events[events["occurred"] > 0]


def _total(cents: NDArray[np.int64]) -> int:
    """The sum, exact beyond 64 bits."""
    return (int((cents >> 32).sum()) << 32) + int((cents & 0xFFFF_FFFF).sum())


def _totals(cents: NDArray[np.int64], starts: NDArray[np.intp]) -> NDArray[np.int64]:
    """The sum from each start to the next, exact beyond 64 bits, then at most LARGEST_SUM in either direction."""
    low = np.add.reduceat(cents & 0xFFFF_FFFF, starts)
    high = np.clip(np.add.reduceat(cents >> 32, starts) + (low >> 32), -(2**22), 2**22)
    sums: NDArray[np.int64] = np.clip((high << 32) + (low & 0xFFFF_FFFF), -LARGEST_SUM, LARGEST_SUM)
    return sums


def _fold_items(items: Table, events: Table) -> Table:
    kind, occurred = events["type"], events["occurred"].astype(np.uint32)
    cents = np.minimum(events["cents"], LARGEST_SUM)
    bought = kind == PURCHASE
    interest = INTEREST[kind]
    rows = np.zeros(len(events), ITEM)
    rows["item"] = events["item"]
    rows["lines"] = rows["decayed"] = bought
    rows["views"] = interest
    rows["first"] = rows["last"] = np.where(bought, occurred, 0)
    rows["viewed"] = np.where(interest, occurred, 0)
    rows["spend"] = np.where(bought, cents, np.where(kind == RETURN, -cents, 0))
    counted = bought | interest | (kind == RETURN)
    return _most_relevant(_merge(np.concatenate([items, rows[counted]])))


def _merge(rows: Table) -> Table:
    """One row per item of rows that may name an item several times."""
    if len(rows) < 2:
        return rows
    rows = rows[np.argsort(rows["item"], kind="stable")]
    starts = np.flatnonzero(np.diff(rows["item"], prepend=0))
    merged = rows[starts]
    merged["lines"] = np.minimum(np.add.reduceat(rows["lines"], starts, dtype=np.int64), 65_535)
    merged["views"] = np.minimum(np.add.reduceat(rows["views"], starts, dtype=np.int64), 65_535)
    merged["first"] = np.minimum.reduceat(rows["first"] - np.uint32(1), starts) + np.uint32(1)  # 0 wraps to the latest
    merged["last"] = np.maximum.reduceat(rows["last"], starts)
    merged["viewed"] = np.maximum.reduceat(rows["viewed"], starts)
    merged["spend"] = _totals(rows["spend"], starts)
    age = np.repeat(merged["last"], np.diff(starts, append=len(rows))) - rows["last"]
    merged["decayed"] = np.add.reduceat(rows["decayed"] * np.exp2(-age.astype(np.float64) / HALF_LIFE), starts)
    return merged


def _most_relevant(items: Table) -> Table:
    """The MOST_ITEMS items with the most decayed purchases, all brought to one time; sorted by item."""
    if len(items) <= MOST_ITEMS:
        return items
    bought = np.log2(np.maximum(items["decayed"], 1e-30)) + items["last"] / HALF_LIFE
    viewed = np.log2(VIEW_WEIGHT) + items["viewed"] / HALF_LIFE
    weight = np.where(items["lines"] > 0, bought, viewed)
    kept = np.lexsort((items["item"], -weight))[:MOST_ITEMS]
    return items[np.sort(kept)]


def _fold_recent(recent: Table, events: Table) -> Table:
    events = events[~NOT_RECENT[events["type"]]]
    rows = np.zeros(len(events), RECENT)
    for name in ("item", "type", "occurred"):
        rows[name] = events[name]
    rows = np.concatenate([recent, rows])
    return rows[np.lexsort((rows["type"], rows["item"], rows["occurred"]))[::-1][:MOST_RECENT]]


def _fold_orders(state: State, bought: Table) -> tuple[Table, int]:
    """The newest orders, and how many orders of `bought` are new.

    Only the newest MOST_ORDERS orders are kept. A line older than all of them counts as a late line of an order that
    was already counted.
    """
    rows = np.zeros(len(bought), ORDER)
    rows["order"] = np.where(bought["order"] > 0, bought["order"], bought["occurred"].astype(np.uint64))
    rows["occurred"] = bought["occurred"]
    known = state.recent_orders
    rows = np.concatenate([known, rows])
    rows = rows[np.lexsort((rows["occurred"], rows["order"]))]
    rows = rows[np.flatnonzero(np.diff(rows["order"], prepend=np.uint64(0)))]  # the earliest line dates an order
    fresh = ~np.isin(rows["order"], known["order"])
    if len(known) == MOST_ORDERS:
        fresh &= rows["occurred"] >= known["occurred"].min()
    return rows[np.lexsort((rows["order"], rows["occurred"]))[::-1][:MOST_ORDERS]], int(fresh.sum())
