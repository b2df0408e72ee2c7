"""Lifts: an item the person just looked at, and the items near to it, get a higher score at once.

They need no training: the next answer already follows the last event.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.state import CODE, PURCHASE, State
from ml.universe import DAY, HOUR, Universe

# The assumed probability that the item of such an event is bought, by that event alone.
LIFT = {
    EventType.VIEW: 0.4,
    EventType.CLICK: 0.5,
    EventType.RATING: 0.4,
    EventType.LIKE: 0.6,
    EventType.ADD_TO_CART: 0.7,
}
# These lift the item's neighbours, at half their weight. A purchase lifts neighbours little: they are no likelier
# than what the person usually buys.
NEIGHBOUR_LIFT = {**LIFT, EventType.PURCHASE: 0.1}
HALF_LIFE = 6 * HOUR  # of a lift
PURCHASE_HALF_LIFE = HOUR / 4  # of the lift that a purchase gives to its neighbours: they are bought together
LONGEST = DAY  # an older event lifts nothing
CONTEXT_LIFT = 0.6  # of an item of the page or the cart, for its neighbours


@dataclass(frozen=True, eq=False)
class Lifts:
    """Items by catalogue number, ascending, each with its lift and the item that caused it, often itself."""

    numbers: NDArray[np.uint32]
    weight: NDArray[np.float32]  # in [0, 1): 1 - (1 - score) * (1 - weight) is the lifted score
    because: NDArray[np.uint32]


NO_LIFTS = Lifts(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.uint32))
_LIFT_BY_CODE = np.zeros(len(EventType), np.float32)
_NEIGHBOUR_LIFT_BY_CODE = np.zeros(len(EventType), np.float32)
for _kind in EventType:
    _LIFT_BY_CODE[CODE[_kind]] = LIFT.get(_kind, 0)
    _NEIGHBOUR_LIFT_BY_CODE[CODE[_kind]] = NEIGHBOUR_LIFT.get(_kind, 0)


def lifts(universe: Universe | None, state: State, as_of: int, context: NDArray[Any]) -> Lifts:
    """The lifts from the last day's events (of each item the newest counts) and from the items of the page."""
    recent = state.recent[state.recent["occurred"] > as_of - LONGEST]
    if not len(recent) and not len(context):
        return NO_LIFTS
    items, newest = np.unique(recent["item"], return_index=True)
    recent = recent[newest]
    half_life = np.where(recent["type"] == PURCHASE, PURCHASE_HALF_LIFE, HALF_LIFE)
    fading = np.exp2(-np.maximum(as_of - recent["occurred"].astype(np.float64), 0) / half_life).astype(np.float32)
    causes = np.concatenate([items, np.asarray(context, np.uint32)]).astype(np.uint32)
    strength = np.concatenate(
        [fading * _NEIGHBOUR_LIFT_BY_CODE[recent["type"]], np.full(len(context), CONTEXT_LIFT, np.float32)]
    )
    numbers = [items]
    weights = [fading * _LIFT_BY_CODE[recent["type"]]]
    because = [np.zeros(len(items), np.uint32)]
    if universe is not None and len(causes):
        rows = universe.rows(causes)
        closeness = universe.near_score[rows]
        closeness = closeness / np.maximum(closeness.max(axis=1, keepdims=True), 1e-9)
        real = closeness > 0
        numbers.append(universe.numbers[universe.near[rows][real]])
        weights.append((closeness * strength[:, None] / 2)[real])
        because.append(np.broadcast_to(causes[:, None], closeness.shape)[real])
    return _strongest(np.concatenate(numbers), np.concatenate(weights), np.concatenate(because))


def _strongest(numbers: NDArray[Any], weights: NDArray[Any], because: NDArray[Any]) -> Lifts:
    """One lift per item: the strongest; of equals, the item's own, then the lowest cause."""
    order = np.lexsort((because, -weights, numbers))
    order = order[weights[order] > 0]
    order = order[np.flatnonzero(np.diff(numbers[order], prepend=0))]
    lifted, cause = numbers[order].astype(np.uint32), because[order].astype(np.uint32)
    return Lifts(lifted, weights[order].astype(np.float32), np.where(cause > 0, cause, lifted))
