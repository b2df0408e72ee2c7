"""The target of a prediction: an order after a cut, to be foretold as of its own moment, the visit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.carts import in_cart
from ml.log import Log
from ml.state import CODE


@dataclass(frozen=True, eq=False)
class Baskets:
    """The items of orders, by person, then moment."""

    people: NDArray[np.int32]  # (baskets,) index into the log's people
    visits: NDArray[np.int64]  # (baskets,) seconds of the first line: all that may be known of the person is before it
    starts: NDArray[np.int64]  # (baskets + 1,) where each basket begins in `items`
    items: NDArray[np.uint32]  # catalogue numbers, ascending and distinct within a basket

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> NDArray[np.uint32]:
        return self.items[self.starts[index] : self.starts[index + 1]]

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(items,) person and item of each line as one number."""
        return np.repeat(self.people, np.diff(self.starts)).astype(np.int64) << 32 | self.items

    @classmethod
    def join(cls, parts: Sequence["Baskets"]) -> "Baskets":
        """All of several, one part after the other; at least one."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        people, visits, items = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("people", "visits", "items")
        )
        return cls(people, visits, np.append(0, np.cumsum(sizes)), items)

    def of(self, people: NDArray[np.int32]) -> "Baskets":
        """The baskets of some people."""
        return self.where(np.isin(self.people, people))

    def where(self, kept: NDArray[np.bool_]) -> "Baskets":
        """Some of them."""
        sizes = np.diff(self.starts)
        starts = np.append(0, np.cumsum(sizes[kept]))
        return Baskets(self.people[kept], self.visits[kept], starts, self.items[np.repeat(kept, sizes)])


def all_baskets(log: Log, start: int, end: int | None = None) -> Baskets:
    """Every order from `start` on and before `end` (seconds), without what the log says returned."""
    after = log.kept.between(start, end)
    by = np.lexsort((after.item, after.order, after.person))
    person, order, item = after.person[by], after.order[by], after.item[by]
    begins = np.ones(len(by), np.bool_)
    begins[1:] = (person[1:] != person[:-1]) | (order[1:] != order[:-1])
    basket = np.cumsum(begins) - 1
    firsts = np.flatnonzero(begins)
    visits = np.minimum.reduceat(after.occurred[by], firsts) if len(firsts) else np.empty(0, np.int64)
    place = np.empty(len(firsts), np.int64)
    place[np.lexsort((visits, person[firsts]))] = np.arange(len(firsts))  # by person, then moment
    pairs = np.unique(place[basket] << 32 | item)
    starts = np.searchsorted(pairs >> 32, np.arange(len(firsts) + 1))
    at = np.argsort(place)
    return Baskets(person[firsts][at], visits[at], starts, (pairs & 0xFFFFFFFF).astype(np.uint32))


def beyond_carts(log: Log, baskets: Baskets) -> Baskets:
    """The baskets without what was in the person's cart as of the visit: no list shows it. Empty ones are left out."""
    added = log.signals.events["type"] == CODE[EventType.ADD_TO_CART]
    kept = np.ones(len(baskets.items), np.bool_)
    for index in np.flatnonzero(np.isin(baskets.people, log.signals.person[added])).tolist():
        visit = int(baskets.visits[index])
        start, end = baskets.starts[index : index + 2]
        cart = in_cart(log.state(int(baskets.people[index]), visit), visit)
        kept[start:end] = ~np.isin(baskets.items[start:end], cart)
    if kept.all():
        return baskets
    sizes = np.add.reduceat(kept, baskets.starts[:-1], dtype=np.int64)
    starts = np.append(0, np.cumsum(sizes))
    return Baskets(baskets.people, baskets.visits, starts, baskets.items[kept]).where(sizes > 0)


def rest_of_orders(log: Log, baskets: Baskets, numbers: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
    """For each basket, one per person, the items of its order that are not among `numbers` (ascending)."""
    found = [np.empty(0, np.uint32)] * len(baskets)
    if not len(baskets):
        return found
    lines = log.kept
    place = np.minimum(np.searchsorted(baskets.people, lines.person), len(baskets) - 1)
    theirs = baskets.people[place] == lines.person
    inside = np.isin(lines.item, numbers)
    first = theirs & inside & (lines.occurred == baskets.visits[place])
    orders = np.full(len(baskets), -1, np.int64)
    orders[place[first]] = lines.order[first]
    other = theirs & ~inside & (lines.order == orders[place])
    pairs = np.unique(place[other] << 32 | lines.item[other])
    for part in np.split(pairs, np.flatnonzero(np.diff(pairs >> 32)) + 1) if len(pairs) else ():
        found[int(part[0] >> 32)] = (part & 0xFFFFFFFF).astype(np.uint32)
    return found


def first_baskets(log: Log, start: int, end: int | None = None) -> Baskets:
    """The first of these orders of each person."""
    found = all_baskets(log, start, end)
    return found.where(np.diff(found.people, prepend=-1) != 0)
