"""One page of a list of items: masks before ranking, one item per group, cursors that pin what was seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core import clock
from core.errors import InvalidInput
from engine.catalogue.catalogue import Catalogue
from engine.recommending.cursors import read_cursor, write_cursor
from engine.signing import Signer
from ml.ranked import Ranked

PINNED = timedelta(minutes=10)  # how long a cursor can be used
LONGEST = 1_000  # items one list may be paged through
_CURSOR = "list"

Mask = NDArray[np.bool_]
Select = Callable[[int], Ranked]  # how many -> the best, best first
Choose = Callable[[Mask], Select]  # by item number, what is allowed: scored once, selected from as often as needed


class Pin(NamedTuple):
    """What a list's pages have in common, and the items of the pages before: seconds, bundle's id, item numbers."""

    as_of: int
    bundle: str | None
    seen: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The items of one page, best first, and where it stands in its list."""

    name: str
    pin: Pin
    numbers: list[int]
    scores: list[float]
    reasons: list[int]  # index in ml.ranked.REASONS
    because: list[int]  # item number, 0 for none
    more: bool

    def cursor(self, signer: Signer, position: int) -> str:
        """The cursor that continues after the item at `position` of this page."""
        seen = self.pin.seen + self.numbers[: position + 1]
        until = int((clock.now() + PINNED).timestamp())
        return write_cursor(signer, _CURSOR, [_short(self.name), until, self.pin.as_of, self.pin.bundle, seen])


def read_pin(signer: Signer, name: str, after: str | None, *, bundle: str | None) -> Pin:
    """The pin in a cursor of the list `name`, or a new one as of now; raises InvalidInput for any other text."""
    if after is None:
        return Pin(int(clock.now().timestamp()), bundle, [])
    of, until, as_of, pinned, seen = read_cursor(signer, _CURSOR, after)
    if of != _short(name):
        raise InvalidInput("after is a cursor of another list.", field="after")
    if until < clock.now().timestamp():
        raise InvalidInput("after has expired: ask for the list from its beginning.", field="after")
    return Pin(as_of, pinned, seen)


def cut_page(catalogue: Catalogue, name: str, pin: Pin, allowed: Mask, first: int, choose: Choose) -> Page:
    """The next `first` items of `allowed`: none seen, no variant of one seen, one per group of variants."""
    allowed = _unseen(catalogue, allowed, pin.seen)
    select = choose(allowed)
    ask = wanted = first + 1
    if catalogue.has_groups:
        ask *= 2
    while True:
        ranked = select(ask)
        kept = _one_per_group(catalogue.groups(ranked.numbers))
        if len(kept) >= wanted or len(ranked.numbers) < ask:
            break
        ask *= 4
    best = ranked.take(kept[: min(first, LONGEST - len(pin.seen))])
    return Page(
        name=name,
        pin=pin,
        numbers=best.numbers.tolist(),
        scores=best.scores.tolist(),
        reasons=best.reasons.tolist(),
        because=best.because.tolist(),
        more=len(kept) > first and len(pin.seen) + len(best.numbers) < LONGEST,
    )


def _unseen(catalogue: Catalogue, allowed: Mask, seen: Sequence[int]) -> Mask:
    if not seen:
        return allowed
    numbers = np.array(seen, np.uint32)
    numbers = numbers[numbers < catalogue.size]
    allowed = allowed & ~catalogue.in_groups(catalogue.groups(numbers)) if catalogue.has_groups else allowed.copy()
    allowed[numbers] = False
    return allowed


def _one_per_group(codes: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Positions of items that stand alone and of the first of each group."""
    kept = codes == 0
    kept[np.unique(codes, return_index=True)[1]] = True
    return np.flatnonzero(kept)


def _short(name: str) -> str:
    return blake2b(name.encode(), digest_size=6).hexdigest()
