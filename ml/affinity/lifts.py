"""Lifts: items near to what the person just looked at, or to what the page shows, get a higher score at once.

They need no training: the next answer already follows the last event. The item itself is not lifted: the person has
just seen it.
"""

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
NONE = np.empty(0, np.uint32)


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
    universe: Universe | None, state: State, as_of: int, context: NDArray[Any], viewed: NDArray[Any] = NONE
) -> Lifts:
    """The lifts from the last day's events (of each item the newest counts), and from the items of the page.

    `viewed` are items just looked at that no event reports yet.
    """
    recent = state.recent[state.recent["occurred"] > as_of - LONGEST]
    if universe is None or not (len(recent) or len(context) or len(viewed)):
        return NO_LIFTS
    items, newest = np.unique(recent["item"], return_index=True)
    recent = recent[newest]
    half_life = np.where(recent["type"] == PURCHASE, PURCHASE_HALF_LIFE, HALF_LIFE)
    fading = np.exp2(-np.maximum(as_of - recent["occurred"].astype(np.float64), 0) / half_life).astype(np.float32)
    strength = fading * _LIFT_BY_CODE[recent["type"]]
    given = len(context), len(viewed)
    return _of_neighbours(
        universe,
        np.concatenate([items, context, viewed]).astype(np.uint32),
        np.concatenate([strength, np.repeat(np.array([CONTEXT_LIFT, LIFT[EventType.VIEW]], np.float32), given)]),
        np.concatenate([_REASON_BY_CODE[recent["type"]], np.repeat(np.array([_SIMILAR, _VIEWED], np.uint8), given)]),
    )


def _of_neighbours(
    universe: Universe, causes: NDArray[np.uint32], strength: NDArray[np.float32], reasons: NDArray[np.uint8]
) -> Lifts:
    """The lifted items, ascending, none of them a cause: the strongest lift of each; of equals, of the lowest cause."""
    rows = universe.rows(causes)
    other = np.ones(len(universe.numbers) + 1, np.bool_)
    other[rows] = False
    near = universe.near[rows]
    closeness = universe.near_score[rows]
    closeness = closeness / np.maximum(closeness.max(axis=1, keepdims=True), 1e-9)
    weights = (closeness * strength[:, None] / 2).astype(np.float32)
    of, _ = real = np.nonzero((weights > 0) & other[near])
    numbers, weights, because = universe.numbers[near[real]], weights[real], causes[of]
    order = np.lexsort((because, -weights, numbers))
    order = order[np.flatnonzero(np.diff(numbers[order], prepend=0))]
    return Lifts(numbers[order], weights[order], because[order], reasons[of[order]])
