"""The candidates for one person's list, and the evidence for each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baselines.item_tables import source_weights
from ml.masks import Mask, first_allowed, is_allowed
from ml.state import State, Table, decayed
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
    near, near_rows = _log_of_sums(rows, weights, universe.near, universe.near_score)
    since = orders_since(state, sources["last"])
    last = since < LAST_ORDERS
    following, following_rows = _log_of_sums(rows[last], 1 / (1.0 + since[last]), universe.next, universe.next_score)
    return ItemEvidence(state.bought, sources, weights, near, following, near_rows, following_rows)


def orders_since(state: State, moments: NDArray[np.uint32]) -> NDArray[np.intp]:
    """The person's orders after each moment."""
    times = np.sort(state.recent_orders["occurred"])
    since: NDArray[np.intp] = len(times) - np.searchsorted(times, moments, side="right")
    return since


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
    numbers = np.unique(np.concatenate([given[is_allowed(given, allowed)], *parts]))
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
    rows: NDArray[np.int32], weights: NDArray[np.float64], lists: NDArray[np.int32], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(n + 1,) log1p of the sum of weight times score over the lists of `rows`, 0 for the padding; and rows above 0."""
    if not len(rows):
        return np.zeros(len(lists), np.float32), np.empty(0, np.intp)
    weighted = (scores.take(rows, axis=0) * weights[:, None]).ravel()
    total = np.bincount(lists.take(rows, axis=0).ravel(), weighted, minlength=len(lists))
    total[-1] = 0
    logs = np.log1p(total).astype(np.float32)
    return logs, np.flatnonzero(logs > 0)  # of booleans: of floats it takes five times as long


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
