"""Which items one person's list is made from, and the evidence for each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features import decayed
from ml.state import State, Table
from ml.universe import DAY, Universe

NEAREST, FOLLOWING, POPULAR = 200, 60, 100  # most candidates of each source beside the person's own items
TELLING = 128  # items of a person that say what else is wanted: those with the most decayed purchases
LAST_ORDERS = 3 * DAY  # what was bought this long before the last purchase still tells what follows


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items by catalogue number, ascending, each with its evidence."""

    numbers: NDArray[np.uint32]  # (candidates,)
    near: NDArray[np.float32]  # log1p of the summed closeness to what the person buys
    following: NDArray[np.float32]  # log1p of the summed rules from what the person bought last


def spread(
    rows: NDArray[np.int32], weights: NDArray[np.float64], lists: NDArray[np.int32], scores: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(n + 1,) the sum, over rows, of weight times list score; the padding's place is emptied."""
    weighted = (scores[rows] * weights[:, None]).ravel()
    total = np.bincount(lists[rows].ravel(), weighted, minlength=len(lists)).astype(np.float64)
    total[-1] = 0
    return total


def telling(state: State, as_of: int) -> tuple[Table, NDArray[np.float64]]:
    """The rows of the person's items with the most decayed purchases, by item, and those purchases."""
    weight = decayed(state.bought, as_of)
    if len(weight) <= TELLING:
        return state.bought, weight
    kept = np.sort(np.argpartition(-weight, TELLING)[:TELLING])
    return state.bought[kept], weight[kept]


def evidence(universe: Universe, state: State, as_of: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n + 1,) each: closeness to what the person buys, and rules from the last orders; log1p of both."""
    bought, weight = telling(state, as_of)
    rows = universe.rows(bought["item"])
    near = spread(rows, weight, universe.near, universe.near_score)
    last = bought["last"] >= state.last - LAST_ORDERS
    following = spread(rows[last], np.ones(int(last.sum())), universe.next, universe.next_score)
    return np.log1p(near).astype(np.float32), np.log1p(following).astype(np.float32)


def find(universe: Universe, state: State, as_of: int, allowed: NDArray[np.bool_], extra: NDArray[Any]) -> Candidates:
    """The person's own items, their nearest and following ones, popular ones, and `extra`: allowed ones only.

    `allowed` is by catalogue number and is applied before each source is cut off, so that a filter never shortens it.
    """
    near, following = evidence(universe, state, as_of)
    mask = is_allowed(universe.numbers, allowed)
    parts = [
        universe.numbers[_largest(near[:-1], mask, NEAREST)],
        universe.numbers[_largest(following[:-1], mask, FOLLOWING)],
        universe.numbers[_first(universe.popular, mask, POPULAR)],
    ]
    given = np.concatenate([state.bought["item"], extra]).astype(np.uint32)
    numbers = np.unique(np.concatenate([given[is_allowed(given, allowed)], *parts]))
    rows = universe.rows(numbers)
    return Candidates(numbers, near[rows], following[rows])


def is_allowed(numbers: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each catalogue number is allowed; numbers beyond the mask are not."""
    inside = numbers < len(allowed)
    result: NDArray[np.bool_] = inside & allowed[np.where(inside, numbers, 0)] if len(allowed) else inside
    return result


def _largest(scores: NDArray[np.float32], mask: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    rows = np.flatnonzero((scores > 0) & mask)
    if len(rows) <= most:
        return rows
    return rows[np.argpartition(-scores[rows], most)[:most]]


def _first(order: NDArray[np.int32], mask: NDArray[np.bool_], most: int) -> NDArray[np.int32]:
    """The first rows of an order that are allowed; its head is enough unless much is forbidden."""
    head = order[: 2 * most]
    found = head[mask[head]][:most]
    return found if len(found) == most else order[mask[order]][:most]
