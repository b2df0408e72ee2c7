"""The features of the items that one person bought: what no moment changes is computed once for many lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.affinity.habit_features import HABIT, UsualGaps
from ml.columns import Columns
from ml.habits import FIXED, HALF_LIVES
from ml.state import State
from ml.universe import DAY, HALF_LIFE, Universe

OWN = Columns(  # about an item the person bought; all are 0 for any other item
    (
        "bought",  # 1
        "lines",  # log1p of the purchases
        "share",  # purchases per order of the person
        "decayed",  # log1p of the purchases, halved every HALF_LIFE
        "decayed_share",  # ... against all decayed purchases of the person, square root
        "recency",  # log1p of the days since the last purchase
        "since",  # log1p of the person's orders since then
        "own_gap",  # log1p of the mean days between two purchases; the item's usual gap after one purchase
        "due",  # days since the last purchase over that gap, log1p
        "age",  # log1p of the days since the first purchase
        "decayed_fast",  # as decayed, halved every HALF_LIVES[0]
        "decayed_slow",  # ... every HALF_LIVES[1]
        "spent",  # what the person spent on it, over all that the person spent on such items, square root
    )
)
BY_PERSON = Columns((*OWN, *HABIT))
_SHRINKING = Columns(("decayed", "decayed_fast", "decayed_slow"))  # log1p of what halves in the time of _HALVED
_HALVED = np.array([HALF_LIFE, *HALF_LIVES])[:, None] / DAY  # days
_GROWING = Columns(("recency", "due", "age"))  # log1p of what grows by the day
_LATE = Columns(("lateness", "overdue"))
_MOVING = (*_SHRINKING, *_GROWING, *_LATE)
_STILL = Columns(name for name in BY_PERSON if name not in _MOVING)
_AT = {names: [BY_PERSON.index(name) for name in names] for names in (_SHRINKING, _GROWING, _LATE, _STILL)}
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OwnFeatures:
    """The columns BY_PERSON of the bought items as of a second, in parts from which those of a later one are made.

    That is right while no purchase is later than `as_of`.
    """

    items: NDArray[np.uint32]  # (items,) catalogue numbers, ascending
    as_of: int
    still: Floats  # (_STILL, items)
    shrinking: Floats  # (_SHRINKING, items) without the logarithm
    growing: Floats  # (_GROWING, items) without the logarithm
    by_day: Floats  # (_GROWING, items) what is added a day
    gaps: UsualGaps

    @classmethod
    def of(cls, universe: Universe, state: State, as_of: int) -> Self:
        """The features of a state's items as of a second."""
        habits = state.habits
        usual_gap = np.expm1(universe.column("gap")[universe.rows(habits.items)]).astype(np.float64)
        age = np.maximum(as_of - habits.last, 0) / DAY
        halves = np.exp2(-age / _HALVED)
        decayed = habits.decayed * halves[0]
        gap = np.where(np.isnan(habits.gap), usual_gap, habits.gap)
        by_day = 1 / np.maximum(gap, 0.5)
        still = {
            **dict(zip(FIXED, habits.fixed, strict=True)),
            "decayed_share": np.sqrt(decayed / max(decayed.sum(), 1e-9)),
            "own_gap": np.log1p(gap),
        }
        return cls(
            habits.items,
            as_of,
            _rows(still, _STILL),
            np.array([decayed, habits.fast * halves[1], habits.slow * halves[2]], np.float32),
            _rows({"recency": age, "due": age * by_day, "age": np.maximum(as_of - habits.first, 0) / DAY}, _GROWING),
            _rows({"recency": np.ones(len(age)), "due": by_day, "age": np.ones(len(age))}, _GROWING),
            UsualGaps.of(habits, usual_gap),
        )

    @cached_property
    def most_bought(self) -> NDArray[np.uint32]:
        """(items,) the catalogue numbers, those with the most purchases that halve every HALF_LIVES[1] first."""
        return self.items[np.argsort(-self.shrinking[_SHRINKING.index("decayed_slow")], kind="stable")]

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays; those of the items are the state's."""
        return self.still.nbytes + 3 * self.shrinking.nbytes + self.gaps.nbytes + self.items.nbytes

    def at(self, as_of: int, places: NDArray[np.intp]) -> Floats:
        """(BY_PERSON, places + 1) of some of `items` as of this or a later second; the last column is for any other."""
        days = (as_of - self.as_of) / DAY
        found = np.zeros((len(BY_PERSON), len(places) + 1), np.float32)
        own = found[:, :-1]
        own[_AT[_STILL]] = self.still.take(places, axis=1)
        shrunk = self.shrinking.take(places, axis=1) * np.exp2(-days / _HALVED).astype(np.float32)
        own[_AT[_SHRINKING]] = np.log1p(shrunk, out=shrunk)
        grown = self.by_day.take(places, axis=1) * np.float32(days)
        grown += self.growing.take(places, axis=1)
        own[_AT[_LATE]] = self.gaps.at(places).late(grown[_GROWING.index("recency")])
        own[_AT[_GROWING]] = np.log1p(grown, out=grown)
        return found


def _rows(columns: Mapping[str, NDArray[np.generic]], names: Columns) -> Floats:
    return np.array(names.ordered(columns), np.float32)
