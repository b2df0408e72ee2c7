"""The sources of evidence: each says of one person how much speaks for every item.

A source is one entry of SOURCES. From its scores come candidates (see `ml.affinity.candidates`) and the features named
by EVIDENCE (see `ml.affinity.pair_features`). A new source needs no other change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.baselines.item_tables import source_weights
from ml.columns import Columns
from ml.interest import Interest
from ml.state import INTEREST, State, Table, decayed, orders_since
from ml.universe import HALF_LIFE, Universe
from ml.visits import running_visit

LOOKED_UP = 128  # items of a person whose lists are looked up: those with the most decayed purchases
HEAD = 2  # times the candidates of a source are sorted in advance: a filter that leaves half needs no others
_HALF = np.uint64(32)  # bits of a key
LAST_ORDERS = 8  # orders whose rules are looked up; the k-th newest counts 1 / k


@dataclass(frozen=True, eq=False)
class History:
    """What the sources read: one person's state as of a second, seen through a universe."""

    universe: Universe
    state: State
    as_of: int
    items: Table  # rows of the state's bought items, by item, at most LOOKED_UP
    purchases: NDArray[np.float64]  # (items,) decayed purchases
    weights: NDArray[np.float64]  # (items,) the same; where `near` is a baseline's table, its `source_weights`
    session: int = 0  # the hash of the one that runs, if the page names it

    def at(self, state: State, as_of: int, session: int = 0) -> "History":
        """The history of the same purchases as of a later second."""
        faded = 0.5 ** ((as_of - self.as_of) / HALF_LIFE)
        purchases = self.purchases * faded
        weights = purchases if self.universe.fade is None else self.weights
        return History(self.universe, state, as_of, self.items, purchases, weights, session)

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """(items,) of the items in the universe."""
        return self.universe.rows(self.items["item"])

    @cached_property
    def seen(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Of the newest events of interest, the row of the item, and what each event says of it by now."""
        recent = self.state.recent
        recent = recent[INTEREST.take(recent["type"]) & (recent["occurred"] <= self.as_of)]
        if not len(recent):
            return np.empty(0, np.int32), np.empty(0)
        age = self.as_of - recent["occurred"].astype(np.float64)
        return self.universe.rows(recent["item"]), Interest.read(self.universe.interest).now(recent["type"], age)

    @cached_property
    def visit(self) -> Table:
        """The running visit (RECENT)."""
        return running_visit(self.state, self.as_of, self.session)

    @cached_property
    def near_lists(self) -> NDArray[np.int32]:
        """(items, k) rows of the neighbours of each item."""
        return self.universe.near.take(self.rows, axis=0)

    @cached_property
    def closeness(self) -> NDArray[np.float64]:
        """(items, k) how near each neighbour is, times the weight of the item."""
        return self.universe.near_score.take(self.rows, axis=0) * self.weights[:, None]

    @cached_property
    def since(self) -> NDArray[np.intp]:
        """(items,) the person's orders after each item was last bought."""
        return orders_since(self.state, self.items["last"])


@dataclass(frozen=True, eq=False)
class Said:
    """What a source says of all n items, before any filter. An item without a row has the score 0."""

    size: int  # n + 1: a row more, which no item has
    rows: NDArray[np.int32]  # of the items above 0, ascending
    scores: NDArray[np.float32]  # (rows,)
    best: NDArray[np.int32]  # the rows of the HEAD x most largest scores, falling
    sums: NDArray[np.float32] | None = None  # (rows,) of decayed purchases, the scores are log1p of; None: none fades

    @cached_property
    def largest(self) -> float:
        """The largest score, 0 where there is none; before any filter, so no filter changes what it divides."""
        return float(self.scores.max(initial=0))

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays."""
        return sum(array.nbytes for array in (self.rows, self.scores, self.best, self.sums) if array is not None)

    def of(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """(rows,) the scores of any rows."""
        by_row = np.zeros(self.size, np.float32)  # to look each row up among those above 0 would take longer
        by_row[self.rows] = self.scores
        return by_row.take(rows)

    def faded(self, factor: float) -> "Said":
        """The same when decayed purchases are this part of what they were. That changes no order."""
        if self.sums is None or factor == 1:
            return self
        return Said(self.size, self.rows, np.log1p(self.sums * np.float32(factor)), self.best, self.sums)


class Source(NamedTuple):
    """A source of evidence."""

    say: Callable[[History], "Scores"]
    most: int  # candidates it adds to a list
    of_purchases: bool = True  # alone: until the next purchase it says the same, but for what fades


class Scores(NamedTuple):
    """The scores of a source that are not 0."""

    size: int
    rows: NDArray[np.intp]
    scores: NDArray[np.float32]  # (rows,)
    sums: NDArray[np.float32] | None = None  # see Said


def say(source: Source, history: History) -> Said:
    """What a source says of a person."""
    size, rows, scores, sums = source.say(history)
    found = rows.astype(np.int32)
    return Said(size, found, scores, found[_largest_first(scores, HEAD * source.most)], sums)


def _largest_first(scores: NDArray[np.float32], most: int) -> NDArray[np.uint32]:
    """Positions of the `most` largest scores, which are not negative; of equal ones the first."""
    if not (most and len(scores)):
        return np.empty(0, np.uint32)
    keys = (~np.ascontiguousarray(scores).view(np.uint32)).astype(np.uint64)  # bits of such floats rise with them
    keys <<= _HALF
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys.sort()  # of plain numbers: several times faster than to sort positions by the scores
    return keys[:most].astype(np.uint32)  # the lower half


def history(universe: Universe, state: State, as_of: int, session: int = 0) -> History:
    """The history of one person as of a second."""
    purchases = decayed(state.bought, as_of)
    weights = purchases if universe.fade is None else source_weights(state, float(universe.fade[0]))
    items = state.bought
    if len(items) > LOOKED_UP:
        most = np.log2(np.maximum(items["decayed"], 1e-30)) + items["last"] / HALF_LIFE  # the same at any moment
        kept = np.sort(np.argpartition(-most, LOOKED_UP)[:LOOKED_UP])
        items, purchases, weights = items.take(kept), purchases[kept], weights[kept]
    return History(universe, state, as_of, items, purchases, weights, session)


def log_of_sums(rows: NDArray[np.int32], scores: NDArray[Any], size: int, *, fades: bool = False) -> Scores:
    """log1p of the sum of the scores of each of `size` rows; the last row is the padding."""
    if not rows.size:
        return Scores(size, np.empty(0, np.intp), np.empty(0, np.float32))
    total = np.bincount(rows.ravel(), scores.ravel(), minlength=size)
    total[-1] = 0
    above = np.flatnonzero(total > 0)  # of booleans: of floats it takes five times as long
    sums = total[above].astype(np.float32)
    return Scores(size, above, np.log1p(sums), sums if fades else None)


class CategoryShares(NamedTuple):
    """The shares of a person's decayed purchases by category: they stay what they are until the next purchase."""

    by_code: NDArray[np.float32]  # (codes + 1,) the last is for a category that the person never bought, 0
    largest: float

    @classmethod
    def of(cls, history: History) -> Self | None:
        """The shares; None without categories or purchases of items that have one."""
        category = history.universe.category
        if category is None or not len(history.rows):
            return None
        own = category.take(history.rows)
        known = own >= 0
        total = history.purchases[known]
        if not len(total):
            return None
        sums = np.append(np.bincount(own[known], total), 0.0)
        shares = sums / max(sums.sum(), 1e-9)
        return cls(shares.astype(np.float32), max(float(shares.max()), 1e-9))

    def of_rows(self, universe: Universe, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """(rows,) the share of the category of each item; 0 for items without one."""
        assert universe.category is not None
        asked = universe.category.take(rows)
        return self.by_code.take(np.where(asked < 0, len(self.by_code) - 1, asked), mode="clip")


def _nothing(universe: Universe) -> Scores:
    """The scores of a source that has nothing to say."""
    return Scores(len(universe.numbers) + 1, np.empty(0, np.intp), np.empty(0, np.float32))


def _near(history: History) -> Scores:
    """Neighbours of what the person buys."""
    universe = history.universe
    return log_of_sums(history.near_lists, history.closeness, len(universe.near), fades=universe.fade is None)


def _closest(history: History) -> Scores:
    """How near an item is to the nearest that the person bought, however many others are near, too."""
    rows, scores = history.near_lists.ravel(), history.universe.near_score.take(history.rows, axis=0).ravel()
    size = len(history.universe.near)
    best = np.zeros(size, np.float32)
    np.maximum.at(best, rows, scores)  # of one type, so that NumPy takes its fast way: ten times as fast as sorting
    best[-1] = 0
    above = np.flatnonzero(best > 0)
    return Scores(size, above, best[above])


def _next(history: History) -> Scores:
    """What follows the person's last orders."""
    universe, last = history.universe, np.flatnonzero(history.since < LAST_ORDERS)
    rows = history.rows[last]
    rules = universe.next_score.take(rows, axis=0) / (1.0 + history.since[last])[:, None]
    return log_of_sums(universe.next.take(rows, axis=0), rules, len(universe.next))


def _ease(history: History) -> Scores:
    """What the linear model says of all that the person bought."""
    universe = history.universe
    if universe.ease is None or universe.ease_score is None:
        return _nothing(universe)
    scores = universe.ease_score.take(history.rows, axis=0) * np.log1p(history.items["lines"])[:, None]
    return log_of_sums(universe.ease.take(history.rows, axis=0), scores, len(universe.ease))


def _then(history: History) -> Scores:
    """What follows the person's last order in the very next one."""
    universe = history.universe
    if universe.then is None or universe.then_score is None:
        return _nothing(universe)
    rows = history.rows[history.since == 0]
    return log_of_sums(universe.then.take(rows, axis=0), universe.then_score.take(rows, axis=0), len(universe.then))


def _sequence(history: History) -> Scores:
    """What comes after all that the person bought, by the sequence net: the log of how much likelier than by chance."""
    universe = history.universe
    items = len(universe.numbers)
    if universe.sequence is None or not len(rows := universe.rows_in_order(history.state.bought)):
        return _nothing(universe)
    scores = np.maximum(universe.sequence.scores(rows) + np.float32(np.log(items)), 0)
    above = np.flatnonzero(scores > 0)
    return Scores(items + 1, above, scores[above])


def _seen(history: History) -> Scores:
    """What the person lately looked at, put into the cart, liked or rated well."""
    rows, weights = history.seen
    return log_of_sums(rows, weights, len(history.universe.near))


def _near_seen(history: History) -> Scores:
    """Neighbours of that."""
    universe, (rows, weights) = history.universe, history.seen
    if not len(rows):
        return _nothing(universe)
    scores = universe.near_score.take(rows, axis=0) * weights[:, None]
    return log_of_sums(universe.near.take(rows, axis=0), scores, len(universe.near))


SOURCES: Mapping[str, Source] = {
    "near": Source(_near, most=200),
    "closest": Source(_closest, most=0),
    "next": Source(_next, most=60),
    "ease": Source(_ease, most=100),
    "then": Source(_then, most=0),
    "sequence": Source(_sequence, most=200),
    "seen": Source(_seen, most=60, of_purchases=False),
    "near_seen": Source(_near_seen, most=100, of_purchases=False),
}
EVIDENCE = Columns((*SOURCES, *(f"{name}_relative" for name in SOURCES)))  # a score; over the largest one
