"""What a forecast learns from: people as of earlier moments, and the week in which each ordered next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.baselines.orders import DAY, Orders
from ml.hazard.features import FEATURES, person_features
from ml.log import Log
from ml.state import State, fold

WEEK = 7 * DAY
WEEKS = 13  # weekly bins; what comes later is one more bin, of many weeks
BINS = WEEKS + 1
LATEST = 52  # weeks that the last bin looks at

Floats = NDArray[np.float32]


class Outcomes(NamedTuple):
    """What became of people. A week counts when all of it is known."""

    at_risk: Floats  # (people, BINS) weeks in which a first order was possible
    ordered: Floats  # (people, BINS) 1 in the bin of the first order

    @classmethod
    def of(cls, days: NDArray[np.float64], known: NDArray[np.float64]) -> Self:
        """From the days to the first order of each (infinite: none), of which only some days are `known`."""
        weeks = np.clip(known // 7, 0, LATEST).astype(np.int64)
        week = np.floor(np.minimum(days / 7, LATEST)).astype(np.int64)
        came = week < weeks
        lived = np.where(came, week + 1, weeks)[:, None]  # weeks at risk, the one of the order among them
        starts = np.arange(BINS)
        ends = np.append(starts[1:], LATEST)
        at_risk = np.clip(lived - starts, 0, ends - starts)
        ordered = np.zeros((len(days), BINS), np.float32)
        ordered[np.flatnonzero(came), np.minimum(week[came], WEEKS)] = 1
        return cls(at_risk.astype(np.float32), ordered)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of people as of moments."""

    features: Floats  # (rows, FEATURES)
    days: NDArray[np.float64]  # (rows,) to the first order; infinite without one before the end
    moment: NDArray[np.int64]  # (rows,) seconds
    person: NDArray[np.int32]  # (rows,)

    def __len__(self) -> int:
        return len(self.features)

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """Some of the rows."""
        return type(self)(self.features[kept], self.days[kept], self.moment[kept], self.person[kept])

    def outcomes(self, end: int) -> Outcomes:
        """What was known at `end` (seconds)."""
        return Outcomes.of(self.days, (end - self.moment) / DAY)


class States:
    """The states of a log's people as of moments that only grow: each is folded from the one before."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._states: dict[int, tuple[State, int]] = {}

    def at(self, people: Sequence[int], moment: int) -> list[State]:
        """The states of people as of a moment (seconds), in their order."""
        found = []
        for person in people:
            state, until = self._states.get(person, (State.empty(), 0))
            history = self._log.history(person, moment)
            state = fold(state, history[history["occurred"] >= until])
            self._states[person] = state, moment
            found.append(state)
        return found


def examples(
    log: Log, orders: Orders, moments: Sequence[int], end: int, *, most: int, seed: int, done: Callable[[int], None]
) -> Examples:
    """Those still known as of each moment, at most `most`, the same as far as possible; nothing from `end` on is seen.

    `orders` are those of the log.
    """
    place = np.random.default_rng(seed).permutation(len(log.people))
    states, known = States(log), orders.before(end)
    features, days = [np.empty((0, len(FEATURES)), np.float32)], [np.empty(0)]
    dated, named = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for index, moment in enumerate(sorted(moments), 1):
        people = known.people(moment).person
        people = np.sort(people[np.argsort(place[people])[:most]])
        if len(people):
            features.append(person_features(states.at(people.tolist(), moment), moment))
            days.append(days_to_order(known, people, moment))
            dated.append(np.full(len(people), moment))
            named.append(people)
        done(index)
    return Examples(np.concatenate(features), np.concatenate(days), np.concatenate(dated), np.concatenate(named))


def days_to_order(orders: Orders, people: NDArray[np.int32], moment: int) -> NDArray[np.float64]:
    """(people,) the days from a moment to the first order of each from then on; infinite without one."""
    later = orders.occurred >= moment
    person, first = np.unique(orders.person[later], return_index=True)
    days = np.full(len(people), np.inf)
    if len(person):
        place = np.minimum(np.searchsorted(person, people), len(person) - 1)
        found = person[place] == people
        days[found] = (orders.occurred[later][first[place[found]]] - moment) / DAY
    return days
