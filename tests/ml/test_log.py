"""The log gives, as of any moment, what folding each person's events gives: returns and dislikes are in both."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contract import EventType
from ml.affinity.training_lists import candidate_features
from ml.baselines.counting import personal_frequency
from ml.baskets import first_baskets
from ml.log import Log, Signals
from ml.snapshot import snapshot
from ml.state import CODE, EVENT, PURCHASE, RETURN, State, Table, fold

START, DAY = 1_600_000_000, 86_400
PEOPLE, ITEMS = 3, 4
SIGNALS = [
    CODE[EventType(kind)] for kind in ("RETURN", "RATING", "LIKE", "DISLIKE", "VIEW", "ADD_TO_CART", "REMOVE_FROM_CART")
]
Row = tuple[int, int, int, int, int, int, int]  # person, type, item, day, quantity, cents, order (0 = none)


def event_of(row: Row, identity: int) -> Table:
    _, type, item, day, quantity, cents, order = row
    event = np.zeros(1, EVENT)
    event[0] = (identity, type, item, START + day * DAY, quantity, cents, order)
    return event


def log_of(rows: list[Row]) -> Log:
    """A log as the engine makes it: lines without an order share one with the lines of their person and second."""
    bought = [row for row in rows if row[1] == PURCHASE]
    said = [row for row in rows if row[1] != PURCHASE]
    keys = [(row[0], row[6] or -1 - row[3]) for row in bought]
    number = {key: at for at, key in enumerate(sorted(set(keys)))}
    signals = np.concatenate([np.zeros(0, EVENT), *(event_of(row, 0) for row in said)])
    for at, row in enumerate(said):
        if row[1] == RETURN:
            signals["order"][at] = number.get((row[0], row[6]), -1) + 1
    columns = np.array([row[:1] + row[2:6] for row in bought], np.int64).reshape(-1, 5).T
    return Log.of(
        people=[f"user:{at}" for at in range(PEOPLE)],
        person=columns[0].astype(np.int32),
        item=columns[1].astype(np.uint32),
        occurred=START + columns[2] * DAY,
        cents=columns[4],
        order=np.array([number[key] for key in keys], np.int64),
        numbers=np.arange(1, ITEMS + 1, dtype=np.uint32),
        item_ids=[f"i{at}" for at in range(1, ITEMS + 1)],
        quantity=columns[3].astype(np.int32),
        signals=Signals(np.array([row[0] for row in said], np.int32), signals),
    )


rows_of_events = st.lists(
    st.tuples(
        st.integers(0, PEOPLE - 1),
        st.sampled_from([PURCHASE, PURCHASE, PURCHASE, RETURN, *SIGNALS]),
        st.integers(1, ITEMS),
        st.integers(0, 6),
        st.integers(1, 3),
        st.integers(0, 500),
        st.sampled_from([0, 0, 1, 2, 3]),
    ),
    max_size=40,
)


@given(rows=rows_of_events, day=st.integers(0, 8))
def test_training_sees_what_the_gateway_folds(rows: list[Row], day: int) -> None:
    log, cut = log_of(rows), START + day * DAY
    past = log.between(None, cut)
    for person in range(PEOPLE):
        mine = [event_of(row, at + 1) for at, row in enumerate(rows) if row[0] == person and row[3] < day]
        live = fold(State.empty(), np.concatenate([np.zeros(0, EVENT), *mine]))
        for state in (log.state(person, cut), past.state(person, cut), fold(State.empty(), past.history(person, cut))):
            assert (state.orders, state.lines, state.spend) == (live.orders, live.lines, live.spend)
            assert (state.first, state.last) == (live.first, live.last)
            assert state.disliked.tolist() == live.disliked.tolist()
            assert state.recent.tolist() == live.recent.tolist()
            for name in ("item", "lines", "views", "first", "last", "viewed", "spend"):
                assert state.items[name].tolist() == live.items[name].tolist(), name
        kept = past.kept._where(past.kept.person == person, Signals.none())
        assert (len(kept), int(kept.cents.sum()), len(np.unique(kept.order))) == (live.lines, live.spend, live.orders)
        numbers, lines = np.unique(kept.item, return_counts=True)
        assert (numbers.tolist(), lines.tolist()) == (live.bought["item"].tolist(), live.bought["lines"].tolist())


@given(rows=rows_of_events)
def test_a_moment_knows_nothing_of_later_returns(rows: list[Row]) -> None:
    log = log_of(rows)
    earlier = log_of([row for row in rows if row[3] < 3])
    for name in ("person", "item", "occurred", "cents", "quantity"):
        ours, theirs = log.between(None, START + 3 * DAY).kept, earlier.kept
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


def returned(*, order: int = 2) -> list[Row]:
    """Person 0 buys 1 and 2, later 3 and 4; the order 2 is returned by everybody who has it."""
    rows: list[Row] = []
    for person in range(PEOPLE):
        rows += [(person, PURCHASE, item, 0, 1, 100, 1) for item in (1, 2)]
        rows += [(person, PURCHASE, item, 2, 1, 100, 2) for item in (3, 4)]
        rows += [(person, PURCHASE, item, 4, 1, 100, 3) for item in (1, 3)]
    return [*rows, *((person, RETURN, item, 3, 1, 0, order) for person in range(PEOPLE) for item in (3, 4))]


@pytest.mark.parametrize("order", [2, 9, 0])
def test_what_everybody_returned_is_neither_popular_nor_frequent_nor_a_target(order: int) -> None:
    log, cut = log_of(returned(order=order)), START + 4 * DAY
    universe = snapshot(log, log.numbers, cut)
    assert universe.column("people")[:-1].astype(bool).tolist() == [True, True, False, False]
    assert set(universe.popular_numbers[:2].tolist()) == {1, 2}
    assert set(personal_frequency(universe, log.history(0, cut), cut)[:2].tolist()) == {1, 2}
    assert first_baskets(log, START + DAY)[0].tolist() == [1, 3], "the order that was returned is not the next one"
    assert snapshot(log, log.numbers, START + 3 * DAY).column("people")[2] > 0, "before that it was bought"


def test_a_disliked_item_is_no_candidate_of_a_training(make_log: Any, now: int) -> None:
    log = make_log()
    universe = snapshot(log, log.numbers, now)
    favourite = int(log.state(0, now).bought["item"][0])
    signals = Signals(np.zeros(1, np.int32), event_of((0, CODE[EventType.DISLIKE], favourite, 0, 1, 0, 0), 1))
    signals.events["occurred"] = now - 10
    names = ("people", "person", "item", "occurred", "cents", "order", "numbers", "item_ids")
    against = Log.of(*(getattr(log, name) for name in names), signals=signals)
    before, after = (candidate_features(each, universe, 0, now) for each in (log, against))
    assert before and after
    assert favourite in before.numbers and favourite not in after.numbers
    old = candidate_features(against, universe, 0, now + 366 * DAY)
    assert old and favourite in old.numbers, "a dislike ends after a year"
