"""The sources of evidence: each says of one person how much speaks for every item.

A source is one entry of SOURCES. From its scores come candidates (see `ml.affinity.candidates`) and the features named
by EVIDENCE (see `ml.affinity.pair_features`). A new source needs no other change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.baselines.item_tables import source_weights
from ml.columns import Columns
from ml.interest import Interest
from ml.state import INTEREST, State, Table, decayed, orders_since
from ml.universe import Universe
from ml.visits import running_visit

LOOKED_UP = 128  # items of a person whose lists are looked up: those with the most decayed purchases
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
        return running_visit(self.state, self.as_of)

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


class Said(NamedTuple):
    """What a source says of all n items, before any filter."""

    scores: NDArray[np.float32]  # (n + 1,) 0 where nothing speaks for an item; the last is 0
    rows: NDArray[np.intp]  # of the items above 0, ascending
    largest: float  # of the scores, 0 where there is none; before any filter, so no filter changes what it divides


class Source(NamedTuple):
    """A source of evidence."""

    say: Callable[[History], Said]
    most: int  # candidates it adds to a list


def history(universe: Universe, state: State, as_of: int) -> History:
    """The history of one person as of a second."""
    purchases = decayed(state.bought, as_of)
    weights = purchases if universe.fade is None else source_weights(state, float(universe.fade[0]))
    items = state.bought
    if len(items) > LOOKED_UP:
        kept = np.sort(np.argpartition(-purchases, LOOKED_UP)[:LOOKED_UP])
        items, purchases, weights = items.take(kept), purchases[kept], weights[kept]
    return History(universe, state, as_of, items, purchases, weights)


def log_of_sums(rows: NDArray[np.int32], scores: NDArray[Any], items: int) -> Said:
    """log1p of the sum of the scores of each of `items` rows; the last row is the padding."""
    logs = np.zeros(items, np.float32)
    if not rows.size:
        return Said(logs, np.empty(0, np.intp), 0.0)
    total = np.bincount(rows.ravel(), scores.ravel(), minlength=items)
    total[-1] = 0
    above = np.flatnonzero(total > 0)  # of booleans: of floats it takes five times as long
    logs[above] = np.log1p(total[above])
    return Said(logs, above, float(logs.max()))


def category_shares(history: History, rows: NDArray[np.int32]) -> tuple[Any, Any]:
    """(rows,) the share of the person's decayed purchases in the category of each item, and over the largest share.

    0 for items without a category.
    """
    category = history.universe.category
    if category is None or not len(history.rows):
        return 0.0, 0.0
    own, asked = category.take(history.rows), category.take(rows)
    known = own >= 0
    total = history.purchases[known]
    if not len(total):
        return 0.0, 0.0
    sums = np.append(np.bincount(own[known], total), 0.0)  # the last is for a category that the person never bought
    shares = sums / max(sums.sum(), 1e-9)
    found = shares.take(np.where(asked < 0, len(sums) - 1, np.minimum(asked, len(sums) - 1)))
    return found, found / max(shares.max(), 1e-9)


def _near(history: History) -> Said:
    """Neighbours of what the person buys."""
    return log_of_sums(history.near_lists, history.closeness, len(history.universe.near))


def _next(history: History) -> Said:
    """What follows the person's last orders."""
    universe, last = history.universe, np.flatnonzero(history.since < LAST_ORDERS)
    rows = history.rows[last]
    rules = universe.next_score.take(rows, axis=0) / (1.0 + history.since[last])[:, None]
    return log_of_sums(universe.next.take(rows, axis=0), rules, len(universe.next))


def _ease(history: History) -> Said:
    """What the linear model says of all that the person bought."""
    universe = history.universe
    if universe.ease is None or universe.ease_score is None:
        return log_of_sums(universe.near[:0], universe.near_score[:0], len(universe.near))
    scores = universe.ease_score.take(history.rows, axis=0) * np.log1p(history.items["lines"])[:, None]
    return log_of_sums(universe.ease.take(history.rows, axis=0), scores, len(universe.ease))


def _then(history: History) -> Said:
    """What follows the person's last order in the very next one."""
    universe = history.universe
    if universe.then is None or universe.then_score is None:
        return log_of_sums(universe.near[:0], universe.near_score[:0], len(universe.near))
    rows = history.rows[history.since == 0]
    return log_of_sums(universe.then.take(rows, axis=0), universe.then_score.take(rows, axis=0), len(universe.then))


def _sequence(history: History) -> Said:
    """What comes after all that the person bought, by the sequence net: the log of how much likelier than by chance."""
    universe = history.universe
    items = len(universe.numbers)
    scores = np.zeros(items + 1, np.float32)
    if universe.sequence is None or not len(rows := universe.rows_in_order(history.state.bought)):
        return Said(scores, np.empty(0, np.intp), 0.0)
    np.maximum(universe.sequence.scores(rows) + np.float32(np.log(items)), 0, out=scores[:-1])
    return Said(scores, np.flatnonzero(scores > 0), float(scores.max()))


def _seen(history: History) -> Said:
    """What the person lately looked at, put into the cart, liked or rated well."""
    rows, weights = history.seen
    return log_of_sums(rows, weights, len(history.universe.near))


def _near_seen(history: History) -> Said:
    """Neighbours of that."""
    universe, (rows, weights) = history.universe, history.seen
    scores = universe.near_score.take(rows, axis=0) * weights[:, None]
    return log_of_sums(universe.near.take(rows, axis=0), scores, len(universe.near))


SOURCES: Mapping[str, Source] = {
    "near": Source(_near, most=200),
    "next": Source(_next, most=60),
    "ease": Source(_ease, most=100),
    "then": Source(_then, most=0),
    "sequence": Source(_sequence, most=200),
    "seen": Source(_seen, most=60),
    "near_seen": Source(_near_seen, most=100),
}
EVIDENCE = Columns((*SOURCES, *(f"{name}_relative" for name in SOURCES)))  # a score; over the largest one
