"""Another order of the best items of a list: items unlike those before them come earlier, or a share are own ones.

Greedy, as maximal marginal relevance (Carbonell and Goldstein 1998): each place goes to the item with the highest score
after a discount for how like it is to the most similar item before it. Where a share of the list is for items that the
person bought before, each place is for one of these or for another one, so that the share holds at every length.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.returns import is_in
from ml.universe import Universe

POOL: Final = 100  # items of a list, those of the pages before included, that get another order
MOST_SEEN: Final = 2 * POOL  # items of the pages before that count
UNLIKE: Final = np.float32(0.5)  # how unlike two items are that share a code, such as that of their category
STRONGEST: Final = 1 - 1e-6  # a discounted score is above that of an item that has a place already

Floats = NDArray[np.float32]
Numbers = NDArray[np.uint32]
Codes = Callable[[Numbers], Numbers]  # a code for each item, 0 for none
_NONE: Final = np.zeros(0, np.uint32)
_GONE: Final = np.float32(-np.inf)  # the score of an item that has a place, or is not of the wanted ones


@dataclass(frozen=True, eq=False)
class Variety:
    """How much the items of a list are to differ from each other."""

    dial: float  # 0: the order of the scores; 1: a copy of an item before it counts for nothing
    universe: Universe | None  # says which items the same people buy
    codes: tuple[Codes, ...]  # items with the same code are alike
    seen: Numbers = field(default_factory=lambda: _NONE)  # the items of the pages before
    own: Numbers = field(default_factory=lambda: _NONE)  # what the person bought, ascending
    share: float | None = None  # of the list that is for own items; None: as many as their scores say

    def best(self, order: NDArray[np.intp], numbers: Numbers, scores: Floats, first: int) -> NDArray[np.intp]:
        """The positions of the `first` best items; `order` has all positions by falling score."""
        in_head = self._in_head(numbers[order])
        head = order[in_head]
        picked = self._picked(numbers[head], scores[head], min(first, len(head)))
        return np.concatenate([head[picked], order[~in_head][: max(first - len(head), 0)]])

    def _in_head(self, ordered: Numbers) -> NDArray[np.bool_]:
        """Which items, the best first, get another order: as many own ones and as many others, if these have shares."""
        if self.share is None:
            return np.arange(len(ordered)) < POOL - len(self.seen)
        own, seen = is_in(ordered, self.own), int(is_in(self.seen, self.own).sum())
        pool = POOL // 2 if self.dial else POOL
        most = np.where(own, pool - seen, pool - (len(self.seen) - seen))
        return np.where(own, np.cumsum(own), np.cumsum(~own)) <= most

    def _picked(self, numbers: Numbers, scores: Floats, length: int) -> NDArray[np.intp]:
        """The positions of the items for the next places."""
        kept, discount = self._discounts(numbers)
        left, now = scores.astype(np.float32), np.empty(len(scores), np.float32)
        own = is_in(numbers, self.own)
        of_own, of_others = (
            (np.where(own, left, _GONE), np.where(own, _GONE, left)) if self.share is not None else (left, left)
        )
        placed = int(is_in(self.seen, self.own).sum())
        picked = np.empty(length, np.intp)
        for place in range(length):
            wanted = self.share is not None and placed < int(self.share * (len(self.seen) + place + 1) + 0.5)
            one, other = (of_own, of_others) if wanted else (of_others, of_own)
            at = int(np.multiply(one, discount, out=now).argmax())
            if one[at] == _GONE:  # there are no more of these
                at = int(np.multiply(other, discount, out=now).argmax())
            picked[place], of_own[at], of_others[at] = at, _GONE, _GONE
            placed += bool(own[at])
            if kept is not None:
                np.minimum(discount, kept[at], out=discount)
        return picked

    def _discounts(self, numbers: Numbers) -> tuple[Floats | None, Floats]:
        """(k, k) what each item leaves of the scores of the others, None for all; (k,) what the pages before leave."""
        if not self.dial:
            return None, np.ones(len(numbers), np.float32)
        seen = self.seen[:MOST_SEEN]
        dial = np.float32(min(self.dial, STRONGEST))
        kept = unlike(self.universe, self.codes, np.concatenate([seen, numbers]))
        kept *= dial
        kept += 1 - dial
        kept = kept[:, len(seen) :]
        return kept[len(seen) :], kept[: len(seen)].min(axis=0, initial=np.float32(1))


def unlike(universe: Universe | None, codes: tuple[Codes, ...], numbers: Numbers) -> Floats:
    """(k, k) how unlike each two items are, from 0 to 1. Each code that they share halves it.

    Without shared codes it is 1 less the cosine of the two over the people who bought them, as far as the universe
    knows one. The tables of a baseline that serves have other scores, some above 1: these count as 1. What is said of
    an item and itself means nothing.
    """
    found = 1 - np.clip(near_scores(universe, numbers), 0, 1)
    for code in codes:
        shared = code(numbers).astype(np.int32)
        none = np.flatnonzero(shared == 0)
        shared[none] = -1 - none  # like no other
        np.multiply(found, UNLIKE, out=found, where=shared[:, None] == shared)
    return found


def near_scores(universe: Universe | None, numbers: Numbers) -> Floats:
    """(k, k) the cosine of each two items over the people who bought them; 0 where neither is near to the other."""
    count = len(numbers)
    found = np.zeros((count, count), np.float32)
    if universe is None:
        return found
    rows = universe.rows(numbers)
    place = np.full(len(universe.numbers) + 1, count, np.int32)
    place[rows] = np.arange(count, dtype=np.int32)
    place[-1] = count
    targets = place.take(universe.near.take(rows, axis=0).ravel())
    hits = np.flatnonzero(targets < count)
    one = hits // max(universe.near.shape[1], 1)
    found[one, targets[hits]] = universe.near_score.take(rows, axis=0).ravel()[hits]
    return np.maximum(found, found.T)
