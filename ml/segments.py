"""The figures of the users of a log that segments are about: recency, orders, money and the RFM segment."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.log import Log, order_counts
from ml.rfm import DAY, SEGMENTS, segment

_USER: Final = "user:"


class Customers(NamedTuple):
    """The users of a log who ever bought: (users,) each."""

    ids: NDArray[np.object_]
    people: NDArray[np.intp]  # their places among the log's people
    recency: NDArray[np.float64]  # days
    orders: NDArray[np.float64]
    cents: NDArray[np.float64]

    @property
    def rfm(self) -> NDArray[np.float64]:
        """(users, 3) as `ml.rfm.quintiles` takes it."""
        return np.column_stack([self.recency, self.orders, self.cents])


def customers(log: Log, as_of: int) -> Customers:
    """The users of a log as of a second, with what they kept: the figures of `ml.rfm.rfm`."""
    kept = log.kept
    people = np.unique(kept.person)
    last = np.zeros(len(log.people), np.int64)
    np.maximum.at(last, kept.person, kept.occurred)
    cents = np.bincount(kept.person, kept.cents, minlength=len(log.people))
    names = np.array(log.people, np.object_)[people] if len(people) else np.empty(0, np.object_)
    users = np.array([name.startswith(_USER) for name in names], np.bool_)
    chosen = people[users]
    return Customers(
        np.array([name[len(_USER) :] for name in names[users]], np.object_),
        chosen.astype(np.intp),
        np.maximum(as_of - last[chosen], 0) / DAY,
        order_counts(kept)[chosen].astype(np.float64),
        np.maximum(cents[chosen], 0),
    )


def rfm_segments(who: Customers, edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """(users,) the place of each user's segment in SEGMENTS, as `ml.rfm.score` finds it."""
    recency, orders, cents = (
        np.searchsorted(edge, values, side="left") for edge, values in zip(edges, who.rfm.T, strict=True)
    )
    table = np.array(
        [[SEGMENTS.index(segment(each, much, much)) for much in range(1, 6)] for each in range(1, 6)], np.intp
    )
    found: NDArray[np.intp] = table[4 - recency, np.maximum(orders, cents)]
    return found
