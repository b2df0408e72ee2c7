"""The features of a pair (person, item): the one function that training and serving share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import ItemEvidence
from ml.affinity.habit_features import HABIT, HABIT_BY_CLOCK, lateness
from ml.affinity.sources import EVIDENCE, category_shares
from ml.affinity.visit_features import VISIT, VISITOR, fill_visit, visitor
from ml.columns import Columns
from ml.habits import FIXED, HALF_LIVES
from ml.state import HALF_LIFE, State
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
        "decayed_fast",  # as decayed, halved every HALF_LIVES[0]
        "decayed_slow",  # ... every HALF_LIVES[1]
    )
)
CATEGORY = Columns(
    (
        "category_share",  # share of the person's decayed purchases that are of the item's category
        "category_relative",  # that over the largest share of any category
    )
)
PERSON = Columns(
    (
        "orders",  # log1p of the person's orders
        "tempo",  # log1p of the mean days between orders
        "quiet",  # log1p of the days since the last order
        "spend",  # log1p of the mean cents of a line of the person
        *VISITOR,
    )
)
FEATURES = Columns(
    (
        *OWN,
        *EVIDENCE,
        *CATEGORY,
        *COLUMNS,
        *PERSON,
        *HABIT,
        *VISIT,
    )
)
BY_CLOCK = (  # they mean nothing in a log without a clock
    *("decayed", "recency", "own_gap", "due", "age", "decayed_fast", "decayed_slow", "gap", "tempo", "quiet"),
    *("week_people", "trend", "on_sale"),
    *HABIT_BY_CLOCK,
)
PAIR = Columns(
    (*OWN, *HABIT, *EVIDENCE, *CATEGORY, *VISIT)
)  # the features that neither the item nor the person has alone
_ITEM, _PERSON = FEATURES.span(COLUMNS), FEATURES.span(PERSON)
_PAIR = np.array([FEATURES.index(name) for name in PAIR])
_BY_PERSON = Columns((*OWN, *HABIT))  # the first of PAIR
_SAID, _CATEGORY = PAIR.span(EVIDENCE), PAIR.span(CATEGORY)
_VISIT = PAIR.span(VISIT)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The features of one person with items, in the parts that they are computed in."""

    rows: NDArray[np.int32]  # (pairs,) of the items in the universe
    person: NDArray[np.float32]  # (PERSON,)
    features: NDArray[np.float32]  # (PAIR, pairs)


def pairs_of(evidence: ItemEvidence, numbers: NDArray[np.uint32]) -> Pairs:
    """The pairs of one person with items by catalogue number, as of the second of the evidence."""
    universe, state, as_of = evidence.history.universe, evidence.history.state, evidence.history.as_of
    rows = universe.rows(numbers)
    features = np.zeros((len(PAIR), len(numbers)), np.float32)
    _say(evidence, rows, features[_SAID])
    features[_CATEGORY][0], features[_CATEGORY][1] = category_shares(evidence.history, rows)
    fill_visit(universe, evidence.history.visit, rows, features[_VISIT])
    items = state.habits.items
    if len(items) and len(numbers):
        place = np.minimum(np.searchsorted(items, numbers), len(items) - 1)
        own = np.flatnonzero(items[place] == numbers)
        features[: len(_BY_PERSON), own] = _habits(universe, state, as_of).take(place[own], axis=1)
    person = np.array(PERSON.ordered({**_person(state, as_of), **visitor(evidence.history.visit)}), np.float32)
    return Pairs(rows, person, features)


def pair_features(evidence: ItemEvidence, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(pairs, FEATURES) of the pairs of `pairs_of`."""
    pairs = pairs_of(evidence, numbers)
    features = np.empty((len(FEATURES), len(numbers)), np.float32)  # by column: each is written in one piece
    features[_ITEM] = evidence.history.universe.columns[pairs.rows].T
    features[_PERSON] = pairs.person[:, None]
    features[_PAIR] = pairs.features
    return features.T


def _say(evidence: ItemEvidence, rows: NDArray[np.int32], features: NDArray[np.float32]) -> None:
    """Fill (EVIDENCE, pairs) with what each source says of the items, and with that over its largest score."""
    scores, relative = features.reshape(2, len(evidence.said), len(rows))
    for at, said in enumerate(evidence.said.values()):
        said.scores.take(rows, out=scores[at], mode="clip")
        if said.largest > 0:
            np.divide(scores[at], said.largest, out=relative[at])


def _habits(universe: Universe, state: State, as_of: int) -> NDArray[np.float32]:
    """(OWN and HABIT, items) of the items that the person bought."""
    habits = state.habits
    usual_gap = np.expm1(universe.column("gap")[universe.rows(habits.items)]).astype(np.float64)
    age = np.maximum(as_of - habits.last, 0)
    decayed = habits.decayed * np.exp2(-age / HALF_LIFE)
    gap = np.where(np.isnan(habits.gap), usual_gap, habits.gap)
    columns = {
        **dict(zip(FIXED, habits.fixed, strict=True)),
        "decayed": np.log1p(decayed),
        "decayed_share": np.sqrt(decayed / max(decayed.sum(), 1e-9)),
        "recency": np.log1p(age / DAY),
        "own_gap": np.log1p(gap),
        "due": np.log1p(age / DAY / np.maximum(gap, 0.5)),
        "age": np.log1p(np.maximum(as_of - habits.first, 0) / DAY),
        "decayed_fast": np.log1p(habits.fast * np.exp2(-age / HALF_LIVES[0])),
        "decayed_slow": np.log1p(habits.slow * np.exp2(-age / HALF_LIVES[1])),
        **lateness(habits, age, usual_gap),
    }
    return np.array(_BY_PERSON.ordered(columns), np.float32)


def _person(state: State, as_of: int) -> Mapping[str, float]:
    if not state.orders:
        return dict.fromkeys(("orders", "tempo", "quiet", "spend"), 0.0)
    return {
        "orders": float(np.log1p(state.orders)),
        "tempo": float(np.log1p((state.last - state.first) / DAY / max(state.orders - 1, 1))),
        "quiet": float(np.log1p(max(as_of - state.last, 0) / DAY)),
        "spend": float(np.log1p(max(state.spend, 0) / max(state.lines, 1))),
    }
