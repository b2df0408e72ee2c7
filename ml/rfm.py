"""Recency, frequency and monetary value of a customer, scored 1 to 5, and the segment they give."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.log import Log
from ml.state import State

DAY = 86_400
# Days, orders, cents; used until a bundle has the quintiles of the shop's own people.
FALLBACK_EDGES = np.array([[7, 30, 90, 180], [1, 2, 5, 12], [2_000, 10_000, 50_000, 200_000]], np.float64)
SEGMENTS = ("CHAMPION", "LOYAL", "PROMISING", "NEW", "NEEDS_ATTENTION", "AT_RISK", "CANNOT_LOSE", "HIBERNATING")


class Rfm(NamedTuple):
    """Days since the last order, number of orders, and cents spent in total."""

    recency: float
    frequency: int
    monetary: int


@dataclass(frozen=True, slots=True)
class Scores:
    """1 (worst fifth) to 5 (best fifth) for each of the three, and the segment they give."""

    recency: int
    frequency: int
    monetary: int
    segment: str


def rfm(state: State, as_of: int) -> Rfm | None:
    """The three numbers as of a second; None for a person without purchases."""
    if not state.orders:
        return None
    return Rfm(max(0.0, (as_of - state.last) / DAY), state.orders, state.spend)


def score(value: Rfm, edges: NDArray[np.float64] | None = None) -> Scores:
    """Scores by quintile edges (3, 4) of `quintiles`; by FALLBACK_EDGES when none are given."""
    edges = FALLBACK_EDGES if edges is None else edges
    recency = 5 - int(np.searchsorted(edges[0], value.recency, side="left"))
    frequency = 1 + int(np.searchsorted(edges[1], value.frequency, side="left"))
    monetary = 1 + int(np.searchsorted(edges[2], value.monetary, side="left"))
    return Scores(recency, frequency, monetary, segment(recency, frequency, monetary))


def segment(recency: int, frequency: int, monetary: int) -> str:
    """The usual segment names, by recency and the better of frequency and monetary value."""
    much = max(frequency, monetary)
    if recency >= 4:
        return "CHAMPION" if much >= 5 else "LOYAL" if much >= 4 else "PROMISING" if much >= 2 else "NEW"
    if recency == 3:
        return "LOYAL" if much >= 5 else "NEEDS_ATTENTION"
    return "CANNOT_LOSE" if much >= 5 else "AT_RISK" if much >= 3 else "HIBERNATING"


def quintiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges (3, 4) between fifths of people, from rows of `Rfm` (people, 3)."""
    if not len(values):
        return FALLBACK_EDGES
    return np.quantile(values, (0.2, 0.4, 0.6, 0.8), axis=0).T.astype(np.float64)


def rfm_edges(log: Log, as_of: int) -> NDArray[np.float64]:
    """Edges (3, 4) between fifths of the people of a log as of a second."""
    values = [rfm(log.state(person, as_of), as_of) for person in np.unique(log.person).tolist()]
    return quintiles(np.array([value for value in values if value], np.float64).reshape(-1, 3))
