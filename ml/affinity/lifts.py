"""Lifts: items near to what the person just looked at, or to what the page shows, get a higher score at once.

They need no training: the next answer already follows the last event. The item itself is not lifted: the person has
just seen it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.ranked import REASON
from ml.state import CODE, PURCHASE, State
from ml.universe import DAY, HOUR, Universe

# The assumed probability that the item of such an event is bought, by that event alone. Its neighbours are lifted by
# half of it. A purchase lifts neighbours little: they are no likelier than what the person usually buys.
LIFT = {
    EventType.VIEW: 0.4,
    EventType.CLICK: 0.5,
    EventType.RATING: 0.4,
    EventType.LIKE: 0.6,
    EventType.ADD_TO_CART: 0.7,
    EventType.PURCHASE: 0.1,
}
HALF_LIFE = 6 * HOUR  # of a lift
PURCHASE_HALF_LIFE = HOUR / 4  # of the lift that a purchase gives to its neighbours: they are bought together
LONGEST = DAY  # an older event lifts nothing
CONTEXT_LIFT = 0.6  # of an item of the page or the cart
KIN_CAUSES = 8  # items whose kin are looked up: those that lift most
NONE = np.empty(0, np.uint32)
Kin = Callable[[int], NDArray[np.uint32]]  # by the catalogue alone: the items most like one item, best first
_Near = tuple[NDArray[np.intp], NDArray[np.uint32], NDArray[np.float32]]  # place of a cause, near item, how near
_NO_NEAR: _Near = np.empty(0, np.intp), NONE, np.empty(0, np.float32)


@dataclass(frozen=True, eq=False)
class Lifts:
    """Items by catalogue number, ascending, each with its lift, its cause, and the reason that names the cause."""

    numbers: NDArray[np.uint32]
    weight: NDArray[np.float32]  # in (0, 1): 1 - (1 - score) * (1 - weight) is the lifted score
    because: NDArray[np.uint32]
    reasons: NDArray[np.uint8]  # index in REASONS


NO_LIFTS = Lifts(NONE, np.empty(0, np.float32), NONE, np.empty(0, np.uint8))
_SIMILAR, _VIEWED = REASON["SIMILAR_TO"], REASON["VIEWED"]
_LIFT_BY_CODE = np.zeros(len(EventType), np.float32)
_REASON_BY_CODE = np.full(len(EventType), _SIMILAR, np.uint8)
for _kind in EventType:
    _LIFT_BY_CODE[CODE[_kind]] = LIFT.get(_kind, 0)
for _kind in (EventType.VIEW, EventType.CLICK):
    _REASON_BY_CODE[CODE[_kind]] = _VIEWED


def lifts(
    universe: Universe | None,
    state: State,
    as_of: int,
    context: NDArray[Any],
    viewed: NDArray[Any] = NONE,
    kin: Kin | None = None,
) -> Lifts:
    """The lifts from the last day's events (of each item the newest counts), and from the items of the page.

    `viewed` are items just looked at that no event reports yet. `kin` gives the neighbours of items that the universe
    does not have, of at most KIN_CAUSES of them.
    """
    recent = state.recent[state.recent["occurred"] > as_of - LONGEST]
    if (universe is None and kin is None) or not (len(recent) or len(context) or len(viewed)):
        return NO_LIFTS
    items, newest = np.unique(recent["item"], return_index=True)
    recent = recent[newest]
    half_life = np.where(recent["type"] == PURCHASE, PURCHASE_HALF_LIFE, HALF_LIFE)
    fading = np.exp2(-np.maximum(as_of - recent["occurred"].astype(np.float64), 0) / half_life).astype(np.float32)
    given = len(context), len(viewed)
    causes = np.concatenate([items, context, viewed]).astype(np.uint32)
    strength = np.concatenate(
        [
            fading * _LIFT_BY_CODE[recent["type"]],
            np.repeat(np.array([CONTEXT_LIFT, LIFT[EventType.VIEW]], np.float32), given),
        ]
    )
    reasons = np.concatenate(
        [_REASON_BY_CODE[recent["type"]], np.repeat(np.array([_SIMILAR, _VIEWED], np.uint8), given)]
    )
    parts = [_in_universe(universe, causes)] if universe is not None else []
    if kin is not None:
        outside = np.ones(len(causes), np.bool_) if universe is None else universe.rows(causes) == len(universe.numbers)
        asked = np.flatnonzero(outside & (strength > 0))
        asked = asked[np.argsort(-strength[asked], kind="stable")][:KIN_CAUSES]
        parts += [_of_kin(int(at), causes, kin) for at in asked]
    of, numbers, closeness = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NO_NEAR
    return _strongest(numbers, closeness * strength[of] / 2, causes[of], reasons[of])


def _in_universe(universe: Universe, causes: NDArray[np.uint32]) -> _Near:
    rows = universe.rows(causes)
    other = np.ones(len(universe.numbers) + 1, np.bool_)
    other[rows] = False
    near, closeness = universe.near[rows], universe.near_score[rows]
    closeness = closeness / np.maximum(closeness.max(axis=1, keepdims=True), 1e-9)
    of, _ = real = np.nonzero((closeness > 0) & other[near])
    return of, universe.numbers[near[real]], closeness[real]


def _of_kin(at: int, causes: NDArray[np.uint32], kin: Kin) -> _Near:
    numbers = kin(int(causes[at]))
    numbers = numbers[~np.isin(numbers, causes)]
    return np.full(len(numbers), at), numbers, np.linspace(1, 0.5, len(numbers), dtype=np.float32)


def _strongest(
    numbers: NDArray[np.uint32], weights: NDArray[np.float32], because: NDArray[np.uint32], reasons: NDArray[np.uint8]
) -> Lifts:
    """The strongest lift of each item; of equals, that of the lowest cause."""
    order = np.lexsort((because, -weights, numbers))
    order = order[weights[order] > 0]
    order = order[np.flatnonzero(np.diff(numbers[order], prepend=0))]
    return Lifts(numbers[order], weights[order], because[order], reasons[order])
