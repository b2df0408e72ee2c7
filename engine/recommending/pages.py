"""Cuts a ranked list into pages: no item twice, one item per variant group, cursors that pin the list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core import clock
from core.contract import Person
from core.errors import InvalidInput
from engine.catalogue.catalogue import Catalogue
from engine.cursors import read_cursor, write_cursor
from engine.rules.arranging import arrange
from engine.rules.effects import Effects
from engine.signing import Signer
from ml.masks import Mask
from ml.ranked import Ranked

CURSOR_LIFETIME = timedelta(minutes=10)
MAX_ITEMS = 1_000  # in all pages of one list
_CURSOR = "list"
_serials = count()

Select = Callable[[int], Ranked]  # number of items -> the best ones, best first
Score = Callable[[Mask], Select]  # scores the allowed items once; `Select` is cheap and called as often as needed


class Pin(NamedTuple):
    """What all pages of a list share, and the items of the pages before."""

    as_of: int  # seconds
    bundle: str | None  # id
    seen: list[int]  # item numbers
    end: tuple[int, ...] | None = None  # of the state, see PersonState: later events do not change the order


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The items of one page, best first, and its place in the list."""

    name: str
    pin: Pin
    numbers: list[int]
    scores: list[float]
    probabilities: list[float | None]  # None where nothing is calibrated
    reasons: list[int]  # index in ml.ranked.REASONS
    because: list[int]  # item number, 0 for none
    every: list[int]  # days in which the person usually buys the item again, 0 for unknown
    explored: list[tuple[int, int]]  # the positions given by chance, and how many of DRAWS give the item that place
    more: bool
    serial: int = field(default_factory=_serials.__next__)  # names this page in this process

    def cursor(self, signer: Signer, position: int) -> str:
        """The cursor of the item at `position`: the next page begins after it."""
        seen = self.pin.seen + self.numbers[: position + 1]
        expires = int((clock.now() + CURSOR_LIFETIME).timestamp())
        pin = self.pin
        return write_cursor(signer, _CURSOR, [_short_hash(self.name), expires, pin.as_of, pin.bundle, seen, pin.end])


def list_of_person(person: Person) -> str:
    """The name of a person's list: a cursor of it continues it in any placement."""
    return f"{person.kind}:{person.id}"


def new_pin(bundle: str | None) -> Pin:
    """The pin of a list that begins now."""
    return Pin(int(clock.now().timestamp()), bundle, [])


def read_pin(signer: Signer, name: str, after: str | None, *, bundle: str | None) -> Pin:
    """The pin in a cursor of the list `name`; a new one as of now without a cursor. Raises InvalidInput."""
    if after is None:
        return new_pin(bundle)
    of, expires, as_of, pinned, seen, *end = read_cursor(signer, _CURSOR, after)
    if of != _short_hash(name):
        raise InvalidInput("after is a cursor of another list.", field="after")
    if expires < clock.now().timestamp():
        raise InvalidInput("after has expired: ask for the list from its beginning.", field="after")
    return Pin(int(as_of), pinned, seen, tuple(end[0]) if end and end[0] is not None else None)


def cut_page(
    catalogue: Catalogue,
    name: str,
    pin: Pin,
    allowed: Mask,
    first: int,
    score: Score,
    elsewhere: NDArray[np.uint32] | None = None,
    *,
    collapse: bool = True,
    effects: Effects | None = None,
) -> Page:
    """The next `first` allowed items: none of the pages before, none of their variants, one per variant group.

    Items that are shown `elsewhere` on the page, and their variants, come after all others. Without `collapse` each
    variant is an item of its own. `effects` are those of the shop's rules.
    """
    collapse = collapse and catalogue.has_groups
    allowed = without_shown(catalogue, allowed, pin.seen, collapse=collapse)
    wanted = first + 1  # one more tells whether there is a next page
    shown = np.empty(0, np.uint32) if elsewhere is None else elsewhere
    arranged = arrange(effects, catalogue, allowed, pin.seen, score, shown, collapse=collapse)
    if arranged is not None:
        ranked = arranged(wanted)
        kept = _all(ranked.numbers)
    else:
        ranked, kept = _distinct(catalogue, score(allowed), wanted, shown, collapse=collapse)
    best = ranked.take(kept[: min(first, MAX_ITEMS - len(pin.seen))])
    return Page(
        name=name,
        pin=pin,
        numbers=best.numbers.tolist(),
        scores=(np.minimum.accumulate(best.scores) if len(shown) else best.scores).tolist(),
        probabilities=[None if chance != chance else chance for chance in best.probabilities.tolist()],  # not NaN
        reasons=best.reasons.tolist(),
        because=best.because.tolist(),
        every=best.every.tolist(),
        explored=_explored(best),
        more=len(kept) > first and len(pin.seen) + len(best.numbers) < MAX_ITEMS,
    )


def _distinct(
    catalogue: Catalogue, select: Select, wanted: int, shown: NDArray[np.uint32], *, collapse: bool
) -> tuple[Ranked, NDArray[np.intp]]:
    """The head of a ranking, and the positions of at least `wanted` items of it that may be in a list, if there are."""
    length = (2 * wanted if collapse else wanted) + len(shown)
    while True:
        ranked = select(length)
        kept = _one_per_group(catalogue, ranked.numbers, shown) if collapse or len(shown) else _all(ranked.numbers)
        if len(kept) >= wanted or len(ranked.numbers) < length:
            return ranked, kept
        length *= 4


def meet(catalogue: Catalogue, numbers: Sequence[int], shown: Sequence[int]) -> bool:
    """Whether any of the items is shown, or is a variant of one that is."""
    if not set(numbers).isdisjoint(shown):
        return True
    if not (catalogue.has_groups and numbers and shown):
        return False
    codes, others = (catalogue.groups(np.array(each, np.uint32)) for each in (numbers, shown))
    return bool(np.isin(codes[codes > 0], others).any())


def without_shown(catalogue: Catalogue, allowed: Mask, shown: Sequence[int], *, collapse: bool = True) -> Mask:
    """The mask without these items and, with `collapse`, without their variants."""
    if not shown:
        return allowed
    numbers = np.array(shown, np.uint32)
    numbers = numbers[numbers < catalogue.size]
    allowed = allowed.copy()
    allowed[numbers] = False
    if collapse and catalogue.has_groups:
        allowed[catalogue.variants_of(numbers)] = False
    return allowed


def _explored(best: Ranked) -> list[tuple[int, int]]:
    """The positions by chance, and how many draws give the item there its place."""
    return [(at, best.chosen[number]) for at, number in enumerate(best.numbers.tolist()) if number in best.chosen]


def _all(numbers: NDArray[np.uint32]) -> NDArray[np.intp]:
    return np.arange(len(numbers))


def _one_per_group(catalogue: Catalogue, numbers: NDArray[np.uint32], shown: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Positions of the items without a group, and of the first item of each group; of those shown elsewhere last."""
    codes = catalogue.groups(numbers)
    order = np.arange(len(numbers))
    if len(shown):
        shown_codes = catalogue.groups(shown[shown < catalogue.size])
        repeated = np.isin(numbers, shown) | ((codes > 0) & np.isin(codes, shown_codes))
        order = np.argsort(repeated, kind="stable")
        codes = codes[order]
    first = dict[int, int]()  # place of the first item of each group
    kept = [place for place, code in enumerate(codes.tolist()) if not code or first.setdefault(code, place) == place]
    return order[kept]


def _short_hash(name: str) -> str:
    return blake2b(name.encode(), digest_size=6).hexdigest()
