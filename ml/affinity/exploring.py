"""The places of a list that are given by chance, among those that the ranking gives."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.affinity.explorable import Explorable, Pick
from ml.affinity.variety import POOL
from ml.masks import Mask, is_allowed, without
from ml.ranked import Ranked
from ml.returns import is_in

_EPSILON: Final = 1e-9  # ten times a tenth of the places is one of them

Numbers = NDArray[np.uint32]
_NONE: Final = np.zeros(0, np.uint32)


@dataclass(frozen=True, eq=False)
class Exploration:
    """The places of one list that are given by chance."""

    items: Explorable
    share: float  # of all places
    draw: int  # which of the draws the list follows
    seen: Numbers = field(default_factory=lambda: _NONE)  # the items of the pages before

    def is_due(self, place: int) -> bool:
        """Whether a place, counted from 0 over all pages, is given by chance."""
        return int((place + 1) * self.share + _EPSILON) > int(place * self.share + _EPSILON)

    @cached_property
    def explored(self) -> Numbers:
        """The items of the pages before that have their place by chance."""
        due = [number for place, number in enumerate(self.seen.tolist()) if self.is_due(place)]
        return np.intersect1d(np.array(due, np.uint32), self.items.numbers) if due else _NONE

    @cached_property
    def ranked(self) -> Numbers:
        """The items of the pages before that the ranking gave their place."""
        return self.seen[~is_in(self.seen, self.explored)]

    def picks(self, allowed: Mask, order: Numbers, length: int) -> dict[int, Pick]:
        """By place on this page the items by chance: allowed ones that are not in the head of the ranked ones.

        All pages of a list choose from the same items, so that the draws of each are those that it was made from.
        """
        before = len(self.seen)
        due = [place for place in range(length) if self.is_due(before + place)]
        if not due:
            return {}
        numbers, passed = self.items.numbers, len(self.explored)
        may = is_allowed(numbers, without(allowed, order[: max(POOL - len(self.ranked), 0)]))
        if passed:
            may |= is_in(numbers, self.explored)
        found = self.items.picks(may, passed + len(due), self.draw)[passed:]
        return dict(zip(due, (pick for pick in found if pick.number not in self.explored), strict=False))


def mixed_in(ranked: Ranked, picks: dict[int, Pick], length: int) -> Ranked:
    """The ranked list with other items at some places, each with the score of the item before it."""
    if not picks:
        return ranked
    chosen = {pick.number: pick.draws for pick in picks.values()}
    order = np.sort(np.array(list(chosen), np.uint32))
    left = ~is_in(ranked.numbers, order)
    numbers, scores = ranked.numbers[left].tolist(), ranked.scores[left].tolist()
    for place in sorted(picks):
        at = min(place, len(numbers))
        numbers.insert(at, picks[place].number)
        scores.insert(at, scores[at - 1] if at else (scores or [0.0])[0])

    return replace(
        ranked,
        numbers=np.array(numbers[:length], np.uint32),
        scores=np.array(scores[:length], np.float32),
        chosen=chosen,
    )
