"""The candidates for one person's list, and the evidence for each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baselines.item_tables import source_weights
from ml.masks import Mask, distinct, first_allowed, is_allowed
from ml.state import State, Table, decayed, orders_since
from ml.universe import Universe

NEAREST, FOLLOWING, POPULAR = 200, 60, 100  # most candidates of each source, beside the person's own items
SOURCES = 128  # items of a person whose neighbours are looked up: those with the most decayed purchases
LAST_ORDERS = 8  # orders whose rules are looked up; the k-th newest counts 1 / k


@dataclass(frozen=True, eq=False)
class ItemEvidence:
    """The evidence that one person's state gives for every item, before any filter."""

    bought: Table  # the person's own items, by item
    sources: Table  # those of them whose neighbours were looked up, by item
    weights: NDArray[np.float64]  # (sources,) decayed purchases; for a baseline's table its `source_weights`
    near_lists: NDArray[np.int32]  # (sources, k) rows of the neighbours of each source
    closeness: NDArray[np.float64]  # (sources, k) how near each is, times the weight of the source
    near: NDArray[np.float32]  # (n + 1,) log1p of the summed closeness to what the person buys
    following: NDArray[np.float32]  # (n + 1,) log1p of the summed rules from the last orders
    near_rows: NDArray[np.intp]  # rows with closeness, ascending
    following_rows: NDArray[np.intp]  # rows that a rule names, ascending


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items by catalogue number, ascending, each with its evidence."""

    numbers: NDArray[np.uint32]  # (candidates,)
    near: NDArray[np.float32]  # (candidates,)
    following: NDArray[np.float32]  # (candidates,)


def gather_evidence(universe: Universe, state: State, as_of: int) -> ItemEvidence:
    """The evidence of one person's state as of a second."""
    sources, weights = _sources(universe, state, as_of)
    rows = universe.rows(sources["item"])
    near_lists = universe.near.take(rows, axis=0)
    closeness = universe.near_score.take(rows, axis=0) * weights[:, None]
    near, near_rows = _log_of_sums(near_lists, closeness, len(universe.near))
    since = orders_since(state, sources["last"])
    last = np.flatnonzero(since < LAST_ORDERS)
    rules = universe.next_score.take(rows[last], axis=0) / (1.0 + since[last])[:, None]
    following, following_rows = _log_of_sums(universe.next.take(rows[last], axis=0), rules, len(universe.next))
    return ItemEvidence(
        state.bought, sources, weights, near_lists, closeness, near, following, near_rows, following_rows
    )


def find_candidates(universe: Universe, evidence: ItemEvidence, allowed: Mask, extra: NDArray[Any]) -> Candidates:
    """The person's own items, their nearest and following ones, popular ones, and `extra`: allowed ones only.

    `allowed` is by catalogue number and is applied before each source is cut off, so that a filter never shortens it.
    """
    parts = [
        _largest(universe, evidence.near, evidence.near_rows, allowed, NEAREST),
        _largest(universe, evidence.following, evidence.following_rows, allowed, FOLLOWING),
        first_allowed(universe.popular_numbers, allowed, POPULAR),
    ]
    given = np.concatenate([evidence.bought["item"], extra]).astype(np.uint32)
    numbers = distinct(np.concatenate([given[is_allowed(given, allowed)], *parts]))
    rows = universe.rows(numbers)
    return Candidates(numbers, evidence.near[rows], evidence.following[rows])


def _sources(universe: Universe, state: State, as_of: int) -> tuple[Table, NDArray[np.float64]]:
    """The person's items with the most decayed purchases, by item, and their weights."""
    purchases = decayed(state.bought, as_of)
    weight = purchases if universe.fade is None else source_weights(state, float(universe.fade[0]))
    if len(weight) <= SOURCES:
        return state.bought, weight
    kept = np.sort(np.argpartition(-purchases, SOURCES)[:SOURCES])
    return state.bought.take(kept), weight[kept]


def _log_of_sums(
    rows: NDArray[np.int32], scores: NDArray[Any], items: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(items,) log1p of the sum of the scores of each row, 0 for the padding; and the rows above 0."""
    logs = np.zeros(items, np.float32)
    if not rows.size:
        return logs, np.empty(0, np.intp)
    total = np.bincount(rows.ravel(), scores.ravel(), minlength=items)
    total[-1] = 0
    above = np.flatnonzero(total > 0)  # of booleans: of floats it takes five times as long
    logs[above] = np.log1p(total[above])
    return logs, above


def _largest(
    universe: Universe, scores: NDArray[np.float32], rows: NDArray[np.intp], allowed: Mask, most: int
) -> NDArray[np.uint32]:
    """The catalogue numbers of the allowed items with the largest scores among `rows`."""
    numbers = universe.numbers[rows]
    kept = is_allowed(numbers, allowed)
    numbers = numbers[kept]
    if len(numbers) > most:
        numbers = numbers[np.argpartition(-scores[rows[kept]], most)[:most]]
    return numbers
