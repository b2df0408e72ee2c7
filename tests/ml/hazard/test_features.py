"""The features of a forecast: from the state alone, the same online and in training."""

import numpy as np
import pytest

from ml.baselines.orders import DAY, Orders
from ml.hazard.examples import BINS, Outcomes, States, examples
from ml.hazard.features import FEATURES, person_features
from ml.log import Log
from ml.state import State, fold
from tests.ml.conftest import MakeLog


def told(features: np.ndarray, name: str) -> float:
    return float(np.expm1(FEATURES.read(features, name)[0]))


def test_features_say_what_a_person_did(make_log: MakeLog) -> None:
    log, at = one_person([0, 10, 20, 50], cents=500)
    found = person_features([log.state(0, at)], at)
    assert told(found, "orders") == pytest.approx(4)
    assert told(found, "quiet") == pytest.approx(10, abs=0.01)
    assert told(found, "age") == pytest.approx(60, abs=0.01)
    assert told(found, "median_gap") == pytest.approx(10, abs=0.01)
    assert told(found, "last_gap") == pytest.approx(30, abs=0.01)
    assert told(found, "orders_30") == pytest.approx(1)
    assert told(found, "spend_per_order") == pytest.approx(5, rel=1e-3)


def test_online_states_have_the_features_of_training(make_log: MakeLog) -> None:
    log = make_log(people=200, orders=30)
    moment = int(np.quantile(log.occurred, 0.8))
    rows = examples(
        log, Orders.of(log), [moment - 60 * DAY, moment], moment + 30 * DAY, most=200, seed=0, done=lambda done: None
    )
    rows = rows.where(rows.moment == moment)
    online = [as_served(log, person, moment) for person in rows.person.tolist()]
    assert len(rows) == 200
    np.testing.assert_allclose(person_features(online, moment), rows.features, rtol=1e-6, atol=1e-6)


def as_served(log: Log, person: int, moment: int) -> State:
    """A base from the store, packed and read, with the last events on top, some of them twice."""
    history = log.history(person, moment)
    base = fold(State.empty(), history[:-4])
    base = State.unpack(base.with_included(history["identity"][:-4]).pack())
    return fold(base, history[-8:])


def test_states_grow_from_moment_to_moment_as_if_made_anew(make_log: MakeLog) -> None:
    log = make_log(people=5)
    states, at = States(log), int(log.occurred.max())
    for moment in (at - 90 * DAY, at - 30 * DAY, at):
        for person, state in enumerate(states.at(range(5), moment)):
            anew = log.state(person, moment)
            assert (state.orders, state.lines, state.last, state.spend) == (
                anew.orders, anew.lines, anew.last, anew.spend,
            )  # fmt: skip


def test_nothing_after_the_end_is_seen(make_log: MakeLog) -> None:
    log = make_log()
    end = int(np.quantile(log.occurred, 0.7))
    whole, cut = (
        examples(each, Orders.of(each), [end - 50 * DAY], end, most=100, seed=0, done=lambda done: None)
        for each in (log, log.between(None, end))
    )
    assert np.array_equal(whole.features, cut.features)
    assert np.array_equal(whole.days, cut.days)


def test_outcomes_count_whole_weeks_only() -> None:
    outcomes = Outcomes.of(np.array([3.0, 15.0, np.inf, 120.0]), np.array([20.0, 20.0, 20.0, 300.0]))
    assert outcomes.ordered.sum(axis=1).tolist() == [1, 0, 0, 1]  # of the third week, a day is not known
    assert outcomes.at_risk.sum(axis=1).tolist() == [1, 2, 2, 18]
    assert outcomes.at_risk[3, BINS - 1] == 5


def one_person(days: list[int], cents: int) -> tuple[Log, int]:
    start = 1_700_000_000
    n = len(days)
    log = Log.of(
        people=["user:a"], person=np.zeros(n, np.int32), item=np.arange(1, n + 1, dtype=np.uint32),
        occurred=start + np.array(days) * DAY, cents=np.full(n, cents), order=np.arange(n),
        numbers=np.arange(1, n + 1, dtype=np.uint32), item_ids=[str(number) for number in range(n)],
    )  # fmt: skip
    return log, start + 60 * DAY
