"""Who ordered when: the input of forecasts of whether a person comes back, and the figures they are made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.columns import Columns
from ml.log import Log

DAY = 86_400
STILL_KNOWN = 365 * DAY  # who did not order for so long is not foretold
WINDOWS = (30, 90, 180, 365)  # days
MOMENTS = 6  # earlier moments that forecasts learn from
FEATURES = Columns(
    ("orders", "quiet", "age", "gap", "last_gap", "lateness", "spend", *(f"orders_{days}" for days in WINDOWS))
)


class People(NamedTuple):
    """The people foretold as of a moment; arrays are (people,)."""

    person: NDArray[np.int32]
    orders: NDArray[np.int64]  # before the moment
    first: NDArray[np.float64]  # days from the first order to the moment
    last: NDArray[np.float64]  # days from the last order to the moment


@dataclass(frozen=True, eq=False)
class Orders:
    """One row per order, by person, then time."""

    person: NDArray[np.int32]
    occurred: NDArray[np.int64]  # seconds of the first line
    cents: NDArray[np.int64]

    @classmethod
    def of(cls, log: Log) -> Self:
        """The orders of which anything was kept."""
        log = log.kept
        by = np.lexsort((log.occurred, log.order, log.person))
        person, order = log.person[by], log.order[by]
        firsts = np.flatnonzero((np.diff(person, prepend=-1) != 0) | (np.diff(order, prepend=-1) != 0))
        cents = np.add.reduceat(log.cents[by], firsts) if len(firsts) else np.empty(0, np.int64)
        person, occurred = person[firsts], log.occurred[by][firsts]
        by = np.lexsort((occurred, person))
        return cls(person[by], occurred[by], cents[by])

    def before(self, moment: int) -> Self:
        """The orders before a moment (seconds)."""
        kept = self.occurred < moment
        return type(self)(self.person[kept], self.occurred[kept], self.cents[kept])

    def people(self, moment: int) -> People:
        """Those with an order in the STILL_KNOWN before a moment."""
        past = self.before(moment)
        person, start, count = np.unique(past.person, return_index=True, return_counts=True)
        first, last = past.occurred[start], past.occurred[start + count - 1]
        known = last >= moment - STILL_KNOWN
        days = ((moment - first) / DAY, (moment - last) / DAY)
        return People(person[known], count[known], *(each[known] for each in days))

    def features(self, moment: int) -> NDArray[np.float64]:
        """(people, FEATURES) of the same people, from the orders before the moment alone."""
        past, found = self.before(moment), self.people(moment)
        rows = np.searchsorted(found.person, past.person)
        rows = np.where(np.isin(past.person, found.person), rows, len(found.person))

        def total(weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
            return np.bincount(rows, weights, minlength=len(found.person) + 1)[:-1].astype(float)

        gap = (found.first - found.last) / np.maximum(found.orders - 1, 1)
        since = np.diff(past.occurred, prepend=0) / DAY
        of_last = np.zeros(len(found.person) + 1)
        of_last[rows] = np.where(np.diff(past.person, prepend=-1) == 0, since, 0)  # the last order of a person stays
        recent = {
            f"orders_{days}": np.log1p(total((past.occurred >= moment - days * DAY).astype(float))) for days in WINDOWS
        }
        known = {
            "orders": np.log1p(found.orders),
            "quiet": np.log1p(found.last),
            "age": np.log1p(found.first),
            "gap": np.log1p(gap),
            "last_gap": np.log1p(of_last[:-1]),
            "lateness": np.log1p(found.last / np.maximum(gap, 1)),
            "spend": np.log1p(np.maximum(total(past.cents.astype(float)), 0) / found.orders),
        }
        return np.stack(FEATURES.ordered(known | recent), axis=1)

    def later(self, people: People, moment: int, days: int) -> NDArray[np.int64]:
        """(people,) the orders of each in the days from a moment on."""
        inside = (self.occurred >= moment) & (self.occurred < moment + days * DAY)
        ordered = self.person[inside & np.isin(self.person, people.person)]
        return np.bincount(np.searchsorted(people.person, ordered), minlength=len(people.person))


def examples(orders: Orders, cut: int, days: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows, FEATURES) and (rows,) whether the person ordered in the following days, as of earlier moments.

    All spans end by the cut.
    """
    parts = [(orders.features(at), orders.later(orders.people(at), at, days) > 0) for at in _moments(orders, cut, days)]
    features, came = zip(*parts, strict=True) if parts else ((np.empty((0, len(FEATURES))),), (np.empty(0),))
    return np.concatenate(features), np.concatenate(came).astype(float)


def _moments(orders: Orders, cut: int, days: int) -> Iterator[int]:
    first = int(orders.occurred.min(initial=cut))
    for index in range(1, MOMENTS + 1):
        moment = cut - days * DAY - (index - 1) * 30 * DAY
        if moment > first:
            yield moment
