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
from ml.interest import WEIGHTS, Interest
from ml.masks import distinct
from ml.ranked import REASON
from ml.state import CODE, PURCHASE, State
from ml.universe import DAY, HOUR, Universe

# The probability that the item of such an event is bought, by that event alone, unless the universe knows better. Its
# neighbours are lifted by half of it. A purchase lifts neighbours little: they are no likelier than what the person
# usually buys.
LIFT = {**WEIGHTS, EventType.PURCHASE: 0.1}
PURCHASE_HALF_LIFE = HOUR / 4  # of the lift that a purchase gives to its neighbours: they are bought together
LONGEST = DAY  # an older event lifts nothing
CONTEXT_LIFT = 0.6  # of an item of the page or the cart
MOST_EVENTS = 32  # the newest, that lift
SUPPORT = 5  # people who bought an item, from which on its neighbours say something: of fewer they are chance
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
_LEAST_PEOPLE = np.log1p(SUPPORT - 0.5)  # of the column "people"
_SIMILAR, _VIEWED = REASON["SIMILAR_TO"], REASON["VIEWED"]
_REASON_BY_CODE = np.full(len(EventType), _SIMILAR, np.uint8)
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

    Where the ranker has learned what events of a type say, they lift nothing more among the items that it knows.
    `viewed` are items just looked at that no event reports yet. `kin` gives the neighbours of items that the universe
    does not have or that fewer than SUPPORT people bought, of at most KIN_CAUSES of them.
    """
    recent = state.recent[:MOST_EVENTS]
    recent = recent[recent["occurred"] > as_of - LONGEST]
    if (universe is None and kin is None) or not (len(recent) or len(context) or len(viewed)):
        return NO_LIFTS
    recent = recent.take(_first_of_each(recent["item"]))
    interest = Interest.read(universe.interest if universe is not None else None)
    lifting = np.where(recent["type"] == PURCHASE, LIFT[EventType.PURCHASE], interest.weight.take(recent["type"]))
    half_life = np.where(recent["type"] == PURCHASE, PURCHASE_HALF_LIFE, interest.half_life.take(recent["type"]))
    fading = np.exp2(-np.maximum(as_of - recent["occurred"].astype(np.float64), 0) / half_life).astype(np.float32)
    given = len(context), len(viewed)
    causes = np.concatenate([recent["item"], context, viewed]).astype(np.uint32)
    strength = np.concatenate(
        [
            fading * lifting.astype(np.float32),
            np.repeat(np.array([CONTEXT_LIFT, LIFT[EventType.VIEW]], np.float32), given),
        ]
    )
    reasons = np.concatenate(
        [_REASON_BY_CODE[recent["type"]], np.repeat(np.array([_SIMILAR, _VIEWED], np.uint8), given)]
    )
    told = np.append(interest.learned.take(recent["type"]), np.zeros(sum(given), np.bool_))
    parts = [_in_universe(universe, causes, ~told)] if universe is not None else []
    if kin is not None:
        unknown = (
            np.ones(len(causes), np.bool_) if universe is None else ~_is_supported(universe, universe.rows(causes))
        )
        asked = np.flatnonzero(unknown & (strength > 0))
        asked = asked[np.argsort(-strength[asked], kind="stable")][:KIN_CAUSES]
        parts += [_of_kin(int(at), causes, kin) for at in asked]
    of, numbers, closeness = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NO_NEAR
    return _strongest(universe, numbers, closeness * strength[of] / 2, causes[of], reasons[of])


def _first_of_each(items: NDArray[np.uint32]) -> NDArray[np.intp]:
    """The first position of each of a few items, by item."""
    first: dict[int, int] = {}
    for at, item in enumerate(items.tolist()):
        first.setdefault(item, at)
    return np.array([first[item] for item in sorted(first)], np.intp)


def _in_universe(universe: Universe, causes: NDArray[np.uint32], lifting: NDArray[np.bool_]) -> _Near:
    """What is near to the causes that are `lifting`; no cause is near to another one."""
    rows = universe.rows(causes)
    other = np.ones(len(universe.numbers) + 1, np.bool_)
    other[rows] = False
    near, closeness = universe.near.take(rows, axis=0), universe.near_score.take(rows, axis=0)
    closeness = (closeness / np.maximum(closeness.max(axis=1, keepdims=True), 1e-9)).ravel()
    near = near.ravel()
    supported = np.repeat(_is_supported(universe, rows) & lifting, universe.near.shape[1])
    real = np.flatnonzero((closeness > 0) & other.take(near) & supported)
    return real // universe.near.shape[1], universe.numbers.take(near[real]), closeness[real]


def _is_supported(universe: Universe, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether enough people bought each item; for an item outside the universe it is false."""
    enough: NDArray[np.bool_] = universe.column("people").take(rows) > _LEAST_PEOPLE
    return enough & (rows < len(universe.numbers))


def _of_kin(at: int, causes: NDArray[np.uint32], kin: Kin) -> _Near:
    numbers = kin(int(causes[at]))
    numbers = numbers[~(numbers[:, None] == causes).any(axis=1)]
    closeness = 1 - np.arange(len(numbers), dtype=np.float32) * np.float32(0.5 / max(len(numbers) - 1, 1))
    return np.full(len(numbers), at), numbers, closeness  # from 1 to a half


def _strongest(
    universe: Universe | None,
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float32],
    because: NDArray[np.uint32],
    reasons: NDArray[np.uint8],
) -> Lifts:
    """The strongest lift of each item; of equals, that of the lowest cause."""
    places, items = _places(universe, numbers)
    best = np.zeros(len(items), np.float32)
    np.maximum.at(best, places, weights)
    strongest = np.flatnonzero((weights == best.take(places)) & (weights > 0))
    first = np.full(len(items), np.iinfo(np.int64).max)  # the lowest cause, then the first entry with it
    np.minimum.at(first, places[strongest], because[strongest].astype(np.int64) * len(numbers) + strongest)
    lifted = np.flatnonzero(best > 0)
    if universe is not None and len(items) > len(universe.numbers):
        lifted = lifted[np.argsort(items[lifted])]
    entry = first[lifted] % max(len(numbers), 1)
    return Lifts(items[lifted], best[lifted], because[entry], reasons[entry])


def _places(universe: Universe | None, numbers: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """The place of each number among items without repeats: those of the universe, then others, each ascending."""
    if universe is None:
        items = distinct(numbers)
        return np.searchsorted(items, numbers), items
    rows = universe.rows(numbers)
    outside = np.flatnonzero(rows == len(universe.numbers))
    if not len(outside):
        return rows, universe.numbers
    others = distinct(numbers[outside])
    rows[outside] += np.searchsorted(others, numbers[outside]).astype(np.int32)
    return rows, np.concatenate([universe.numbers, others])
