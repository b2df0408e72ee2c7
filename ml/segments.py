"""Who of a log belongs to a segment: conditions on recency, orders, money and the RFM segment of each user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.log import Log, order_counts
from ml.rfm import DAY, SEGMENTS, segment

_USER: Final = "user:"


class Span(NamedTuple):
    """From `min` to `max`, both included; None for no bound."""

    min: float | None = None
    max: float | None = None

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each value is in the span."""
        low, high = -np.inf if self.min is None else self.min, np.inf if self.max is None else self.max
        return (values >= low) & (values <= high)


class Chance(NamedTuple):
    """A forecast within some days, and the span that its probability is in."""

    within: int  # days
    span: Span


@dataclass(frozen=True, slots=True)
class Conditions:
    """A user belongs to a segment when every condition that is given holds."""

    rfm: tuple[str, ...] = ()  # names of SEGMENTS, any of them; none: all
    recency: Span = field(default=Span())  # days since the last order
    orders: Span = field(default=Span())
    spent: Span = field(default=Span())  # money, in the shop's currency
    churn: Chance | None = None  # of no order
    next_purchase: Chance | None = None  # of an order

    @property
    def need_forecast(self) -> bool:
        """Whether a condition is about a forecast."""
        return self.churn is not None or self.next_purchase is not None

    def as_json(self) -> dict[str, Any]:
        """As JSON, without what is not given."""
        spans = {"recency": self.recency, "orders": self.orders, "spent": self.spent}
        found: dict[str, Any] = {name: _bounds(span) for name, span in spans.items() if span != Span()}
        chances = {"churn": self.churn, "next_purchase": self.next_purchase}
        found |= {
            name: {"within": each.within, **_bounds(each.span)} for name, each in chances.items() if each is not None
        }
        return {**({"rfm": list(self.rfm)} if self.rfm else {}), **found}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From `as_json`."""
        spans: dict[str, Any] = {name: Span(**document.get(name, {})) for name in ("recency", "orders", "spent")}
        spans |= {
            name: Chance(document[name]["within"], Span(document[name].get("min"), document[name].get("max")))
            for name in ("churn", "next_purchase")
            if name in document
        }
        return cls(rfm=tuple(document.get("rfm", ())), **spans)


def _bounds(span: Span) -> dict[str, float]:
    return {bound: value for bound, value in span._asdict().items() if value is not None}


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


# (days) -> (users,) the probability of no order within them
NoOrder = Callable[[float], NDArray[np.float64]]


def members(
    who: Customers, conditions: Conditions, edges: NDArray[np.float64], no_order: NoOrder | None = None
) -> list[str]:
    """The ids of the users for whom all conditions hold; `edges` as `ml.rfm.score` takes them.

    Conditions that need a forecast need `no_order`.
    """
    chosen = conditions.recency.holds(who.recency) & conditions.orders.holds(who.orders)
    chosen &= conditions.spent.holds(who.cents / 100)
    if conditions.rfm:
        wanted = np.array([name in conditions.rfm for name in SEGMENTS], np.bool_)
        chosen &= wanted[rfm_segments(who, edges)]
    if conditions.need_forecast:
        assert no_order is not None
        if churn := conditions.churn:
            chosen &= churn.span.holds(no_order(churn.within))
        if following := conditions.next_purchase:
            chosen &= following.span.holds(1 - no_order(following.within))
    ids: list[str] = who.ids[chosen].tolist()
    return ids


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
