"""The features of a pair (person, item): the one function that training and serving share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.habit_features import HABIT, HABIT_BY_CLOCK, LISTED, habit_features, listed_features
from ml.columns import Columns
from ml.state import State, age_of, decayed
from ml.universe import COLUMNS, DAY, Universe

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
    )
)
PERSON = Columns(
    (
        "orders",  # log1p of the person's orders
        "tempo",  # log1p of the mean days between orders
        "quiet",  # log1p of the days since the last order
        "spend",  # log1p of the mean cents of a line of the person
    )
)
FEATURES = Columns(
    (
        *OWN,
        "near",  # evidence from neighbours of what the person buys
        "next",  # evidence from what follows the person's last orders
        *COLUMNS,
        *PERSON,
        *HABIT,
        *LISTED,
    )
)
# they mean nothing in a log without a clock; the shares and places beside them do
BY_CLOCK = ("near", "decayed", "recency", "own_gap", "due", "age", "gap", "tempo", "quiet", *HABIT_BY_CLOCK)
_OWN, _ITEM, _PERSON = FEATURES.span(OWN), FEATURES.span(COLUMNS), FEATURES.span(PERSON)
_HABIT, _LISTED = FEATURES.span(HABIT), FEATURES.span(LISTED)
_NEAR, _NEXT = FEATURES.index("near"), FEATURES.index("next")


def pair_features(
    universe: Universe,
    state: State,
    numbers: NDArray[np.uint32],
    near: NDArray[np.float32],
    following: NDArray[np.float32],
    as_of: int,
) -> NDArray[np.float32]:
    """(pairs, FEATURES) of one person with items by catalogue number, as of a second.

    `near` and `following` are the evidence of `ml.affinity.candidates` for each pair.
    """
    columns = universe.columns.take(universe.rows(numbers), axis=0)
    features = np.zeros((len(numbers), len(FEATURES)), np.float32)
    features[:, _NEAR], features[:, _NEXT] = near, following
    features[:, _ITEM] = columns
    features[:, _LISTED] = np.stack(LISTED.ordered(listed_features(near, following)), axis=1)
    features[:, _PERSON] = PERSON.ordered(_person(state, as_of))
    bought = state.bought
    if len(bought) and len(numbers):
        place = np.minimum(np.searchsorted(bought["item"], numbers), len(bought) - 1)
        own = np.flatnonzero(bought["item"][place] == numbers)
        usual_gap = np.expm1(COLUMNS.read(columns, "gap")[own])
        rows = bought.take(place[own])
        features[own, _OWN] = np.stack(OWN.ordered(_own(state, rows, usual_gap, as_of)), axis=1)
        features[own, _HABIT] = np.stack(HABIT.ordered(habit_features(state, rows, usual_gap, as_of)), axis=1)
    return features


def _own(
    state: State, rows: NDArray[Any], usual_gap: NDArray[np.float32], as_of: int
) -> Mapping[str, NDArray[np.float64]]:
    """The columns OWN (rows,) of items the person bought; `usual_gap` in days."""
    lines = rows["lines"].astype(np.float64)
    weight = decayed(rows, as_of)
    total = decayed(state.bought, as_of).sum()
    recency = age_of(rows["last"], as_of) / DAY
    gap = np.where(lines > 1, (rows["last"] - rows["first"]) / DAY / np.maximum(lines - 1, 1), usual_gap)
    times = np.sort(state.recent_orders["occurred"])
    since = len(times) - np.searchsorted(times, rows["last"], side="right")
    return {
        "bought": np.ones(len(rows)),
        "lines": np.log1p(lines),
        "share": lines / max(state.orders, 1),
        "decayed": np.log1p(weight),
        "decayed_share": np.sqrt(weight / max(total, 1e-9)),
        "recency": np.log1p(recency),
        "since": np.log1p(since),
        "own_gap": np.log1p(gap),
        "due": np.log1p(recency / np.maximum(gap, 0.5)),
        "age": np.log1p(age_of(rows["first"], as_of) / DAY),
    }


def _person(state: State, as_of: int) -> Mapping[str, float]:
    if not state.orders:
        return dict.fromkeys(PERSON, 0.0)
    return {
        "orders": float(np.log1p(state.orders)),
        "tempo": float(np.log1p((state.last - state.first) / DAY / max(state.orders - 1, 1))),
        "quiet": float(np.log1p(max(as_of - state.last, 0) / DAY)),
        "spend": float(np.log1p(max(state.spend, 0) / max(state.lines, 1))),
    }
