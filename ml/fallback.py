"""What fills a list that a person's own history does not: in which order, and what may be said of each item."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.masks import Mask, first_allowed, without
from ml.ranked import REASON, Explained
from ml.ties import mixed
from ml.universe import DAY, HOUR

NEW_FOR = 30 * DAY  # an item is new for so long after it was added
SETTLED = 7 * DAY  # after its first item a catalogue still receives its first upload: such items are not new
HEAD = 4_096  # items of a long order that are read before the allowed ones are looked up in it


@dataclass(frozen=True, eq=False)
class Fallback:
    """The same for every person: numbers are catalogue numbers, claims are indices in REASONS."""

    order: tuple[NDArray[np.uint32], ...]  # best first, in parts that may overlap
    claims: NDArray[np.uint8]  # by catalogue number; a number beyond it is OTHER
    place: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))  # by number, in the last part

    @classmethod
    def popular(cls, numbers: NDArray[np.uint32]) -> Self:
        """Popular items alone, best first."""
        return cls((numbers,), claims_of(np.zeros(0, np.uint8), POPULAR=numbers))

    def explain(self, numbers: NDArray[np.uint32]) -> Explained:
        """What may be said of these items without knowing the person. No such reason names another item."""
        reasons = np.full(len(numbers), REASON["OTHER"], np.uint8)
        inside = np.flatnonzero(numbers < len(self.claims))
        reasons[inside] = self.claims[numbers[inside]]
        return Explained.of(reasons, np.zeros(len(numbers), np.uint32))


def claims_of(claims: NDArray[np.uint8], **numbers: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The claims, and those of some items by the name of the reason; of an item named twice the last holds."""
    length = max(len(claims), *(int(some.max(initial=0)) + 1 for some in numbers.values()))
    more = np.full(length, REASON["OTHER"], np.uint8)
    more[: len(claims)] = claims
    for reason, some in numbers.items():
        more[some] = REASON[reason]
    return more


def fill(
    numbers: NDArray[np.uint32], scores: NDArray[np.float32], allowed: Mask, fallback: Fallback, first: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The list (numbers, scores) extended to `first` items: those of the fallback, then any other allowed one.

    The added scores fall evenly from the last score of the list towards 0.
    """
    if len(numbers) >= first:
        return numbers, scores
    left, parts = without(allowed, numbers), [numbers]
    missing = first - len(numbers)
    for part in fallback.order:
        known = part is fallback.order[-1] and len(fallback.place) > 0
        found = _first_of_all(part, fallback.place, left, missing) if known else first_allowed(part, left, missing)
        parts.append(found)
        missing -= len(found)
        left[found] = False
        if not missing:
            break
    if missing:
        rest = np.flatnonzero(left)
        parts.append(rest[rest > 0][:missing].astype(np.uint32))
    filled = np.concatenate(parts)
    least = scores[-1] if len(scores) else np.float32(0.01)
    steps = np.linspace(1, 0, len(filled) - len(numbers) + 2, dtype=np.float32)[1:-1]
    return filled, np.concatenate([scores, least * steps])


def _first_of_all(order: NDArray[np.uint32], place: NDArray[np.uint32], allowed: Mask, most: int) -> NDArray[np.uint32]:
    """The first allowed ones of an order of many items, which is not read as a whole for the sake of few."""
    found = first_allowed(order[:HEAD], allowed, most)
    if len(found) == most:
        return found
    numbers = np.flatnonzero(allowed[: len(place)]).astype(np.uint32)
    places = place[numbers]
    if len(numbers) > most:
        kept = np.argpartition(places, most)[:most]
        numbers, places = numbers[kept], places[kept]
    first = np.argsort(places)
    return numbers[first[places[first] < len(order)]]


def places_in(order: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """By catalogue number the place in an order; the largest number for an item that is not in it."""
    place = np.full(int(order.max(initial=0)) + 1, np.iinfo(np.uint32).max, np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return place


def in_turns(
    numbers: NDArray[np.uint32], category: NDArray[np.uint32], added: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """The items, one of each category in turn, and in each category the newest first.

    `added` is in seconds, 0 = unknown. Items of one hour came together, mostly in the order of the alphabet: a hash
    orders them.
    """
    odd = mixed(numbers)
    hour = added.astype(np.int64) // int(HOUR)
    by = np.lexsort((odd, -hour, category))
    places = np.arange(len(by))
    starts = np.flatnonzero(np.diff(category[by].astype(np.int64), prepend=-1))
    turn = places - np.repeat(starts, np.diff(starts, append=len(by)))
    return numbers[by[np.lexsort((odd[by], -hour[by], turn))]]


def are_new(added: NDArray[np.uint32], as_of: float) -> NDArray[np.bool_]:
    """Whether items of a catalogue are new, by the seconds at which each was added; 0 = before that was recorded."""
    first = float(added.min(initial=np.iinfo(np.uint32).max))
    new: NDArray[np.bool_] = (added > as_of - NEW_FOR) & (added >= first + SETTLED)
    return new
