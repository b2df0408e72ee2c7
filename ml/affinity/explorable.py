"""Items that hardly anybody bought yet, and how well each may sell: some of their places in lists are given by chance.

How many people buy an item per day on sale has a gamma distribution. Before anything is known of the item it is that of
its category and brand: their items' mean, as widely spread as an exponential distribution. The item's own buyers and
days narrow it. Thompson sampling (1933) draws a value for each item and takes the greatest. All draws are made ahead,
so how often an item is taken is counted and not guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.fallback import SETTLED
from ml.universe import DAY, Universe

FEW: Final = 5.0  # people: an item that so many bought is not explored any more
MOST: Final = 512  # items that may be explored at a time: those that may sell best
AT_ONCE: Final = 128  # of these the ones that one list chooses from
DRAWS: Final = 256  # worlds that are drawn ahead; each list follows one of them
PRIOR: Final = 20.0  # buyers of the shop's mean that are mixed with those of a category or brand

_EACH: Final = np.arange(DRAWS)

Numbers = NDArray[np.uint32]


class Pick(NamedTuple):
    """An item for a place that is given by chance."""

    number: int
    draws: int  # of DRAWS that give it this place


class ItemColumns(NamedTuple):
    """What the catalogue says of its live items."""

    numbers: Numbers
    codes: Sequence[Numbers]  # of the category, of the brand; 0 for none
    added: Numbers  # seconds; 0 for not known
    available: NDArray[np.bool_] | None = None  # which of them can be bought; None: all


@dataclass(frozen=True, eq=False)
class Explorable:
    """The items that may be explored, the ones that may sell best first."""

    numbers: Numbers  # (items,)
    draws: NDArray[np.float32]  # (DRAWS, items) how well each would sell

    def picks(self, may: NDArray[np.bool_], count: int, draw: int) -> list[Pick]:
        """The best items of a draw for `count` places, of those that `may` have one, (items,): fewer if there are.

        No item has two places, in any draw.
        """
        found, choice = list[Pick](), np.flatnonzero(may)[:AT_ONCE]
        if not len(choice):
            return found
        until = int(choice[-1]) + 1
        sampled = self.draws[:, :until].copy()  # and not the chosen columns: to pick those takes ten times as long
        sampled[:, ~may[:until]] = -1
        for _ in range(min(count, len(choice))):
            best = sampled.argmax(axis=1)
            mine = best[draw]
            found.append(Pick(int(self.numbers[mine]), int((best == mine).sum())))
            sampled[_EACH, best] = -1
        return found


def explorable(universe: Universe | None, items: ItemColumns, as_of: int) -> Explorable:
    """The available items that fewer than FEW people bought.

    On one day the draws of an item stay the same, whatever other items there are, as far as it sells as before.
    """
    buyers, days = _sales(universe, items, as_of)
    mean = buyers.sum() / max(days.sum(), 1.0)
    expected = np.full(len(items.numbers), max(mean, 1e-6))
    for codes in items.codes:
        of_code, usual = (np.bincount(codes, each, minlength=1) for each in (buyers, mean * days))
        of_code[0] = usual[0] = 0.0
        expected *= ((of_code + PRIOR) / (usual + PRIOR))[codes]
    few = np.flatnonzero(buyers < FEW if items.available is None else (buyers < FEW) & items.available)
    shape, rate = 1 + buyers[few], 1 / expected[few] + days[few]
    may_sell = (shape + 2 * np.sqrt(shape)) / rate
    first = np.lexsort((items.numbers[few], -may_sell))[:MOST]
    numbers, draws, day = items.numbers[few[first]], np.empty((DRAWS, len(first)), np.float32), int(as_of // DAY)
    for at, (number, how_many) in enumerate(zip(numbers.tolist(), shape[first].tolist(), strict=True)):
        draws[:, at] = np.random.default_rng([day, number]).standard_gamma(how_many, DRAWS)
    draws /= rate[first].astype(np.float32)
    return Explorable(numbers, draws)


def _sales(
    universe: Universe | None, items: ItemColumns, as_of: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(items,) who bought each item, and the days that it has been on sale.

    An item that nobody bought is on sale since it was added; if it came with the first upload, as long as any other.
    """
    buyers, longest, days = np.zeros(len(items.numbers)), 365.0, np.zeros(len(items.numbers))
    known = np.zeros(len(items.numbers), np.bool_)
    if universe is not None and len(universe.numbers):
        rows = universe.rows(items.numbers)
        known = rows < len(universe.numbers)
        buyers[known] = np.expm1(universe.column("people")[rows[known]])
        days[known] = np.expm1(universe.column("on_sale")[rows[known]])
        longest = max(float(days.max(initial=0.0)), 1.0)
    first = float(items.added[items.added > 0].min(initial=np.iinfo(np.uint32).max))
    came_later = items.added >= first + SETTLED
    since = np.where(came_later, np.maximum(as_of - items.added.astype(np.float64), 0) / DAY, longest)
    return buyers, np.where(known, days, since)
