"""The features of a pair (person, item): the one function that training and serving share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import ItemEvidence
from ml.affinity.habit_features import HABIT, HABIT_BY_CLOCK
from ml.affinity.own_features import BY_PERSON, OWN
from ml.affinity.sources import EVIDENCE, History
from ml.affinity.visit_features import VISIT, VISITOR, fill_visit, visitor
from ml.columns import Columns
from ml.universe import COLUMNS, DAY

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
        "basket",  # log1p of the mean lines of an order of the person
        "again",  # log1p of the share of the person's purchases that were of an item bought before
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
PAIR = Columns((*BY_PERSON, *EVIDENCE, *CATEGORY, *VISIT, *COLUMNS))  # the features that the person does not have alone
PERSON_AT = FEATURES.span(PERSON)
PAIR_AT = np.array([FEATURES.index(name) for name in PAIR])
_OWN, _SAID, _CATEGORY, _VISIT, _ITEM = (PAIR.span(names) for names in (BY_PERSON, EVIDENCE, CATEGORY, VISIT, COLUMNS))


@dataclass(frozen=True, eq=False)
class Pairs:
    """The features of one person with items, by feature: each is written and read in one piece."""

    person: NDArray[np.float32]  # (PERSON,)
    features: NDArray[np.float32]  # (PAIR + 1, pairs), the last is 1


def pairs_of(evidence: ItemEvidence, numbers: NDArray[np.uint32]) -> Pairs:
    """The pairs of one person with items by catalogue number, each once, as of the second of the evidence."""
    history, shares = evidence.history, evidence.shares
    universe, rows = history.universe, history.universe.rows(numbers)
    features = np.zeros((len(PAIR) + 1, len(numbers)), np.float32)
    items = evidence.own.items
    if len(items) and len(numbers):
        places = np.minimum(items.searchsorted(numbers), len(items) - 1)
        own = np.flatnonzero(items.take(places) == numbers)
        column = np.full(len(numbers), len(own))
        column[own] = np.arange(len(own))
        found = evidence.own.at(history.as_of, places.take(own))
        found.take(column, axis=1, out=features[_OWN], mode="clip")
    _say(evidence, rows, features[_SAID])
    if shares is not None:
        share, relative = features[_CATEGORY]
        share[:] = shares.of_rows(universe, rows)
        np.divide(share, shares.largest, out=relative)
    fill_visit(universe, history.visit, rows, features[_VISIT])
    features[_ITEM] = universe.columns.take(rows, axis=0).T
    features[-1] = 1
    return Pairs(person_features(history), features)


def pair_features(evidence: ItemEvidence, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(pairs, FEATURES) of the pairs of `pairs_of`."""
    pairs = pairs_of(evidence, numbers)
    features = np.empty((len(FEATURES), len(numbers)), np.float32)
    features[PERSON_AT] = pairs.person[:, None]
    features[PAIR_AT] = pairs.features[:-1]
    return features.T


def person_features(history: History) -> NDArray[np.float32]:
    """(PERSON,) as of the second of the history."""
    state, values = history.state, {**dict.fromkeys(PERSON, 0.0), **visitor(history.visit)}
    if state.orders:
        values |= {
            "orders": state.orders,
            "tempo": (state.last - state.first) / DAY / max(state.orders - 1, 1),
            "quiet": max(history.as_of - state.last, 0) / DAY,
            "spend": max(state.spend, 0) / max(state.lines, 1),
            "basket": state.lines / state.orders,
            "again": 1 - len(state.bought) / max(int(state.bought["lines"].sum(dtype=np.int64)), 1),
        }
    return np.log1p(np.array(PERSON.ordered(values), np.float64)).astype(np.float32)


def _say(evidence: ItemEvidence, rows: NDArray[np.int32], features: NDArray[np.float32]) -> None:
    """Fill (EVIDENCE, pairs) with what each source says of the items, and with that over its largest score."""
    scores, relative = features.reshape(2, len(evidence.said), len(rows))
    items = len(evidence.history.universe.numbers)
    place = np.full(items + 1, len(rows), np.int32)  # of each row among the pairs; behind them where it is in none
    place[rows] = np.arange(len(rows), dtype=np.int32)
    place[items] = len(rows)
    found = np.empty(len(rows) + 1, np.float32)
    for at, said in enumerate(evidence.said.values()):
        if said.largest > 0:
            found.fill(0)
            found[place.take(said.rows)] = said.scores
            scores[at] = found[:-1]
            np.divide(scores[at], np.float32(said.largest), out=relative[at])
