"""One person's state: packed arrays that events are folded into, the same way in training and in serving.

Purchases are counted as far as they were kept: `ml.returns` says how returns count. A dislike holds until the person
likes the item, rates it well or buys it later.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.amounts import LARGEST_SUM
from core.choices import NO_CHOICES, Choices
from core.contract import BROWSING, EventType
from core.errors import PenchantError
from ml.habits import Habits
from ml.ledger import PLACED, Ledger, Sums, enter
from ml.masks import distinct
from ml.returns import LINE, is_in, joined, net, totals
from ml.returns import Table as Table
from ml.universe import HALF_LIFE

EVENT = np.dtype(
    [
        ("identity", "<u8"),
        ("type", "u1"),  # index in list(EventType)
        ("item", "<u4"),  # catalogue number; 0 = no item, or an unknown one
        ("occurred", "<i8"),  # seconds
        ("quantity", "<i4"),
        ("cents", "<i8"),  # of the whole line; of a rating its value in hundredths
        ("order", "<u8"),  # 0 = none given: lines of one second are one order; of an opinion, its microseconds; of
        # BROWSING, a hash of its session
    ]
)
ITEM = np.dtype(
    [
        ("item", "<u4"),
        ("lines", "<u2"),  # purchases that were kept, at most 65,535
        ("views", "<u2"),  # views, clicks, likes, ratings that are not low and cart adds, at most 65,535
        ("first", "<u4"),  # seconds of the first purchase; 0 = never bought
        ("last", "<u4"),
        ("viewed", "<u4"),  # seconds of the last view or the like
        ("decayed", "<f4"),  # purchases, each halved every HALF_LIFE, as of `last`
        ("spend", "<i8"),  # cents; at most LARGEST_SUM
    ]
)
OPINION = np.dtype([("item", "<u4"), ("disliked", "<u8"), ("liked", "<u8")])  # microseconds of the last, 0 = none
RECENT = np.dtype([("item", "<u4"), ("type", "u1"), ("occurred", "<u4"), ("session", "<u4")])  # 0 = not known
ORDER = np.dtype([("order", "<u8"), ("occurred", "<u4")])

CODE = {kind: code for code, kind in enumerate(EventType)}
PURCHASE, RETURN = CODE[EventType.PURCHASE], CODE[EventType.RETURN]
RATING, LIKE, DISLIKE = CODE[EventType.RATING], CODE[EventType.LIKE], CODE[EventType.DISLIKE]
LOW, GOOD = 200, 300  # hundredths of a star: a rating up to the one is a dislike, from the other on it is a like
INTEREST = np.isin(  # by type code
    list(EventType), [EventType.VIEW, EventType.CLICK, EventType.ADD_TO_CART, EventType.RATING, EventType.LIKE]
)
SESSION = np.isin(list(EventType), list(BROWSING))  # by type code; those whose `order` is a session
PAID = np.isin(list(EventType), [EventType.PURCHASE, EventType.RETURN])  # by type code
NOT_RECENT = np.isin(list(EventType), [EventType.SEARCH, EventType.IMPRESSION])  # by type code; not in `recent`

MOST_ITEMS, MOST_RECENT, MOST_OPINIONS, MOST_INCLUDED = 512, 64, 128, 1024
DISLIKES_HOLD = 365 * 86_400  # seconds, unless the shop sets another time
VIEW_WEIGHT = 0.1  # of a viewed item against a bought one, when a person has more items than are kept
LATEST = 2**32 - 1  # seconds
MICROSECONDS = np.uint64(1_000_000)  # of a second
_HEAD = struct.Struct("<4s9H4Iq4Iq")  # the lengths of the tables, the sums, those of settled lines
_MAGIC = b"PST2"  # another one for each layout: a state of any other is refused, and built again from the events


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
    spend: int = 0  # cents; at most LARGEST_SUM
    opinions: Table = field(default_factory=lambda: np.empty(0, OPINION))  # by item, the newest MOST_OPINIONS
    ledger: Ledger = field(default_factory=Ledger)
    settled: Table = field(default_factory=lambda: np.empty(0, ITEM))  # rows of items with open lines, without these
    choices: Choices = NO_CHOICES  # of the person; like `hidden`, they are no event and are not packed
    hidden: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))  # chosen so, ascending

    @classmethod
    def empty(cls) -> Self:
        """The state of a person without events."""
        return cls()

    @cached_property
    def bought(self) -> Table:
        """The rows of `items` with a purchase."""
        return self.items[self.items["lines"] > 0]

    @cached_property
    def habits(self) -> Habits:
        """What the state says of each row of `bought`."""
        return Habits.of(self.bought, self.orders, self.recent_orders, self.ledger.kept)

    @cached_property
    def disliked(self) -> NDArray[np.uint32]:
        """The items that the person dislikes, ascending: neither liked later, nor bought later or in that second.

        Those that they hid are among them, whatever they did later.
        """
        disliked = self._disliked_by_events
        if not len(self.hidden):
            return disliked
        return distinct(np.concatenate([disliked, self.hidden])) if len(disliked) else self.hidden

    @property
    def _disliked_by_events(self) -> NDArray[np.uint32]:
        against = self.opinions[self.opinions["disliked"] > self.opinions["liked"]]
        if not len(against):
            return against["item"]
        place = np.minimum(np.searchsorted(self.items["item"], against["item"]), len(self.items) - 1)
        if len(self.items):
            last = np.where(self.items["item"][place] == against["item"], self.items["last"][place], 0)
            against = against[against["disliked"] // MICROSECONDS > last]
        return against["item"]

    def choosing(self, choices: Choices, hidden: NDArray[np.uint32]) -> Self:
        """The state of a person who chose so; `hidden` are the numbers of the items. Who paused has no behaviour."""
        return replace(self.empty() if choices.paused_since else self, choices=choices, hidden=hidden)

    @cached_property
    def without_behaviour(self) -> Self:
        """The choices of the person, and nothing that they did."""
        return self.empty().choosing(self.choices, self.hidden)

    def without_dislikes_before(self, moment: int) -> Self:
        """The state without dislikes from before a second."""
        if not len(self.opinions):
            return self
        is_left = self.opinions["disliked"] // MICROSECONDS >= max(moment, 0)
        return self if is_left.all() else replace(self, opinions=self.opinions[is_left])

    def with_included(self, identities: Sequence[int] | NDArray[np.uint64]) -> Self:
        """Remember identities (oldest first) as counted, so that `fold` skips them; the newest 1,024 are kept."""
        both = np.concatenate([self.included, np.asarray(identities, np.uint64)])
        return replace(self, included=np.unique(both[-MOST_INCLUDED:]))

    def pack(self) -> bytes:
        """The state as bytes, with a version and a checksum."""
        tables = self._tables()
        sums = self.orders, self.lines, self.first, self.last, self.spend
        head = _HEAD.pack(_MAGIC, *(len(table) for table in tables), *sums, *self.ledger.settled)
        body = b"".join([head, *(table.tobytes() for table in tables)])
        return body + zlib.crc32(body).to_bytes(4, "little")

    def _tables(self) -> tuple[Table, ...]:
        """As _TABLES."""
        ledger = self.ledger
        more = (self.settled, ledger.lines, ledger.returns, ledger.placed, self.opinions)
        return (self.items, self.recent, self.recent_orders, self.included, *more)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The state that was packed. Raises `StateDamaged` for other, cut or changed bytes."""
        if len(packed) < _HEAD.size + 4 or packed[:4] != _MAGIC:
            raise StateDamaged(f"not a packed state of this version: {packed[:4]!r}, {len(packed)} bytes")
        body = packed[:-4]
        if zlib.crc32(body) != int.from_bytes(packed[-4:], "little"):
            raise StateDamaged("the checksum of a packed state does not match its bytes")
        _, *numbers = _HEAD.unpack_from(body)
        counts, sums, settled_sums = numbers[: len(_TABLES)], numbers[len(_TABLES) : -5], numbers[-5:]
        orders, lines, first, last, spend = sums
        items, recent, recent_orders, included, settled, open_lines, returns, placed, opinions = _read_tables(
            body, _HEAD.size, _TABLES, counts
        )
        ledger = Ledger(open_lines, returns, placed, Sums(*settled_sums))
        return cls(items, recent, recent_orders, included, orders, lines, first, last, spend, opinions, ledger, settled)


_TABLES = (ITEM, RECENT, ORDER, np.dtype("<u8"), ITEM, LINE, LINE, PLACED, OPINION)


def _read_tables(body: bytes, offset: int, dtypes: Sequence[np.dtype[Any]], counts: Sequence[int]) -> list[Table]:
    """The tables from `offset` on."""
    tables: list[Table] = []
    for dtype, count in zip(dtypes, counts, strict=True):
        tables.append(np.frombuffer(body, dtype, count, offset))
        offset += dtype.itemsize * count
    return tables


def fold(state: State, events: Table) -> State:
    """The state after these events (dtype EVENT), which may come in any order.

    An identity counts once, also when it occurs twice or is in `state.included`. Folding in parts equals folding at
    once (`decayed` to float precision), as long as the person has no more items, orders, opinions, open lines and
    returns than are kept, and no count or sum has reached its bound, where it stays.
    """
    events = _uncounted(state, events)
    if not len(events):
        return state
    about_items = events[events["item"] > 0]
    interests = _interests(about_items)
    state = replace(
        state,
        recent=_fold_recent(state.recent, about_items),
        opinions=_fold_opinions(state.opinions, about_items),
        settled=_merge(np.concatenate([state.settled, _of_items(interests, state.ledger.lines["item"])])),
    )
    paid = events[PAID[events["type"]]]
    if len(paid):
        state, rows = _fold_paid(state, paid, interests)
    else:
        rows = np.concatenate([state.items, interests])
    return replace(state, items=_most_relevant(_merge(rows)))


def decayed(rows: Table, as_of: int) -> NDArray[np.float64]:
    """The decayed purchases of rows of a state's items, as of a second."""
    result: NDArray[np.float64] = rows["decayed"] * np.exp2(-age_of(rows["last"], as_of) / HALF_LIFE)
    return result


def orders_since(state: State, moments: NDArray[np.uint32]) -> NDArray[np.intp]:
    """The person's orders after each moment (seconds), among the newest that the state holds."""
    times = np.sort(state.recent_orders["occurred"])
    since: NDArray[np.intp] = len(times) - np.searchsorted(times, moments, side="right")
    return since


def age_of(moment: NDArray[np.uint32], as_of: int) -> NDArray[np.float64]:
    """The seconds from each moment to `as_of`; 0 for a later moment."""
    return np.maximum(as_of - moment.astype(np.float64), 0)


def _uncounted(state: State, events: Table) -> Table:
    """The events not counted yet, once each, in an order that depends on the events alone."""
    identities, index = np.unique(events["identity"], return_index=True)
    if len(state.included):
        index = index[~is_in(identities, state.included)]
    events = events[index]
    events["occurred"] = np.minimum(events["occurred"], LATEST)
    low = (events["type"] == RATING) & (events["cents"] > 0) & (events["cents"] <= LOW)  # 0 is no rating
    events["type"][low] = DISLIKE
    return events[events["occurred"] > 0]


def kept_purchases(events: Table) -> Table:
    """The purchases among one person's events (EVENT) of which anything was kept; an order has an item once."""
    bought, returned = events[events["type"] == PURCHASE], events[events["type"] == RETURN]
    lines, earliest = joined(_lines(bought))
    kept = net(lines, _lines(returned)).kept > 0 if len(returned) else np.ones(len(lines), np.bool_)
    purchases: Table = bought[np.sort(earliest[kept])]
    return purchases


def _lines(events: Table) -> Table:
    """Purchases or returns as LINE. Purchases without an order are one order per second."""
    lines = np.zeros(len(events), LINE)
    lines["item"], lines["occurred"] = events["item"], events["occurred"]
    lines["units"] = np.maximum(events["quantity"], 1)
    lines["cents"] = np.minimum(events["cents"], LARGEST_SUM)
    second = np.where(events["type"] == PURCHASE, events["occurred"], 0).astype(np.uint64)
    lines["order"] = np.where(events["order"] > 0, events["order"], second)
    return lines


def _fold_paid(state: State, events: Table, interests: Table) -> tuple[State, Table]:
    """The state after purchases and returns, and the rows to merge for its items."""
    kind = events["type"]
    ledger, still_open, settled, sums, kept_orders = enter(
        state.ledger, _lines(events[kind == PURCHASE]), _lines(events[kind == RETURN])
    )
    was_open = is_in(state.items["item"], np.sort(state.ledger.lines["item"]))
    interests = interests[~is_in(interests["item"], np.sort(state.ledger.lines["item"]))]
    without_open = np.concatenate([state.items[~was_open], interests, state.settled, _item_rows(settled)])
    placed = ledger.placed[kept_orders]
    recent_orders = np.empty(len(placed), ORDER)
    recent_orders["order"], recent_orders["occurred"] = placed["order"], placed["occurred"]
    after = replace(
        state,
        **sums._asdict(),
        recent_orders=recent_orders,
        ledger=ledger,
        settled=_merge(_of_items(without_open, ledger.lines["item"])),
    )
    return after, np.concatenate([without_open, _item_rows(still_open)])


def _of_items(rows: Table, numbers: NDArray[np.uint32]) -> Table:
    return rows[is_in(rows["item"], np.sort(numbers))]


def _interests(events: Table) -> Table:
    """A row for each event that shows interest in an item."""
    events = events[INTEREST[events["type"]]]
    rows = np.zeros(len(events), ITEM)
    rows["item"], rows["views"], rows["viewed"] = events["item"], 1, events["occurred"]
    return rows


def _item_rows(kept: Table) -> Table:
    """A row for each line (LINE, as kept) of a known item."""
    kept = kept[kept["item"] > 0]
    rows = np.zeros(len(kept), ITEM)
    rows["item"], rows["spend"] = kept["item"], kept["cents"]
    rows["lines"] = rows["decayed"] = 1
    rows["first"] = rows["last"] = kept["occurred"]
    return rows


def _merge(rows: Table) -> Table:
    """One row per item of rows that may name an item several times."""
    if len(rows) < 2:
        return rows
    rows = rows.take(np.argsort(rows["item"], kind="stable"))  # of rows of several fields, `take` is much faster
    starts = np.flatnonzero(np.append(True, rows["item"][1:] != rows["item"][:-1]))
    if len(starts) == len(rows):
        return rows
    merged = rows.take(starts)
    merged["lines"] = np.minimum(np.add.reduceat(rows["lines"], starts, dtype=np.int64), 65_535)
    merged["views"] = np.minimum(np.add.reduceat(rows["views"], starts, dtype=np.int64), 65_535)
    merged["first"] = np.minimum.reduceat(rows["first"] - np.uint32(1), starts) + np.uint32(1)  # 0 wraps to the latest
    merged["last"] = np.maximum.reduceat(rows["last"], starts)
    merged["viewed"] = np.maximum.reduceat(rows["viewed"], starts)
    merged["spend"] = totals(rows["spend"], starts)
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
    return items.take(np.sort(kept))


def _fold_recent(recent: Table, events: Table) -> Table:
    events = events[~NOT_RECENT[events["type"]]]
    rows = np.zeros(len(events), RECENT)
    for name in ("item", "type", "occurred"):
        rows[name] = events[name]
    rows["session"] = np.where(SESSION[events["type"]], events["order"] & np.uint64(0xFFFF_FFFF), 0)
    rows = np.concatenate([recent, rows])
    by = np.lexsort([rows[name] for name in ("session", "type", "item", "occurred")])
    return rows[by[::-1][:MOST_RECENT]]


def _fold_opinions(opinions: Table, events: Table) -> Table:
    """The newest opinions, by item."""
    kind = events["type"]
    disliked, liked = kind == DISLIKE, (kind == LIKE) | ((kind == RATING) & (events["cents"] >= GOOD))
    said = disliked | liked
    if not said.any():
        return opinions
    rows = np.zeros(int(said.sum()), OPINION)
    rows["item"] = events["item"][said]
    moment = events["occurred"].astype(np.uint64) * MICROSECONDS + np.minimum(events["order"], MICROSECONDS - 1)
    rows["disliked"] = np.where(disliked, moment, 0)[said]
    rows["liked"] = np.where(liked, moment, 0)[said]
    rows = np.concatenate([opinions, rows])
    rows = rows[np.argsort(rows["item"], kind="stable")]
    starts = np.flatnonzero(np.diff(rows["item"], prepend=0))
    merged = rows[starts]
    for name in ("disliked", "liked"):
        merged[name] = np.maximum.reduceat(rows[name], starts)
    newest = np.lexsort((merged["item"], np.maximum(merged["disliked"], merged["liked"])))[::-1][:MOST_OPINIONS]
    return merged[np.sort(newest)]
