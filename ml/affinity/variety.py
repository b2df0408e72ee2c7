"""Another order of the best items of a list: items unlike those before them come earlier.

Greedy, as maximal marginal relevance (Carbonell and Goldstein 1998): each place goes to the item with the highest score
after a discount for how like it is to the most similar item before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.universe import Universe

POOL: Final = 100  # items of a list, those of the pages before included, that get another order
UNLIKE: Final = np.float32(0.5)  # how unlike two items are that share a code, such as that of their category
STRONGEST: Final = 1 - 1e-6  # a discounted score is above that of an item that has a place already

Floats = NDArray[np.float32]
Numbers = NDArray[np.uint32]
Codes = Callable[[Numbers], Numbers]  # a code for each item, 0 for none


@dataclass(frozen=True, eq=False)
class Variety:
    """How much the items of a list are to differ from each other."""

    dial: float  # 0: the order of the scores; 1: a copy of an item before it counts for nothing
    universe: Universe | None  # says which items the same people buy
    codes: tuple[Codes, ...]  # items with the same code are alike
    seen: Numbers = field(default_factory=lambda: np.zeros(0, np.uint32))  # the items of the pages before

    def best(self, order: NDArray[np.intp], numbers: Numbers, scores: Floats, first: int) -> NDArray[np.intp]:
        """The positions of the `first` best items; `order` has all positions by falling score."""
        head = order[: max(POOL - len(self.seen), 0)]
        picked = self._picked(numbers[head], scores[head], min(first, len(head)))
        return np.concatenate([head[picked], order[len(head) : first]])

    def _picked(self, numbers: Numbers, scores: Floats, length: int) -> NDArray[np.intp]:
        """The positions of the items for the next places."""
        before = len(self.seen[:POOL])
        dial = np.float32(min(self.dial, STRONGEST))
        kept = unlike(self.universe, self.codes, np.concatenate([self.seen[:POOL], numbers]))
        kept *= dial
        kept += 1 - dial
        kept = kept[:, before:]
        discount = kept[:before].min(axis=0, initial=np.float32(1))
        left, now = scores.astype(np.float32), np.empty(len(scores), np.float32)
        picked = np.empty(length, np.intp)
        for place in range(length):
            at = int(np.multiply(left, discount, out=now).argmax())
            picked[place], left[at] = at, -1
            np.minimum(discount, kept[before + at], out=discount)
        return picked


def unlike(universe: Universe | None, codes: tuple[Codes, ...], numbers: Numbers) -> Floats:
    """(k, k) how unlike each two items are, from 0 to 1. Each code that they share halves it.

    Without shared codes it is 1 less the cosine of the two over the people who bought them, as far as the universe
    knows one. What is said of an item and itself means nothing.
    """
    found = 1 - near_scores(universe, numbers)
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
