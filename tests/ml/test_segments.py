"""Segments: the figures are those of `User.rfm`, and every condition has to hold."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.log import Log, Signals
from ml.rfm import FALLBACK_EDGES, SEGMENTS, quintiles, rfm, score
from ml.segments import Chance, Conditions, Span, customers, members, rfm_segments
from ml.state import EVENT, RETURN


@pytest.fixture(params=[False, True], ids=["no returns", "returns"])
def log(request: pytest.FixtureRequest, make_log: Callable[..., Log]) -> Log:
    made = make_log(people=40, items=30, orders=6)
    if not request.param:
        return made
    random = np.random.default_rng(1)
    at = np.sort(random.choice(len(made), 60, replace=False))
    events = np.zeros(len(at), EVENT)
    events["type"], events["item"], events["quantity"] = RETURN, made.item[at], 1
    events["occurred"], events["order"], events["cents"] = made.occurred[at] + 3_600, made.order[at] + 1, 0
    return Log.of(
        people=made.people, person=made.person, item=made.item, occurred=made.occurred, cents=made.cents,
        order=made.order, numbers=made.numbers, item_ids=made.item_ids, signals=Signals(made.person[at], events),
    )  # fmt: skip


def test_the_figures_are_those_of_each_users_state(log: Log, now: int) -> None:
    who = customers(log, now)
    assert len(who.ids) == 40
    for id, values, segment in zip(who.ids, who.rfm, rfm_segments(who, FALLBACK_EDGES), strict=True):
        value = rfm(log.state(log.people.index(f"user:{id}"), now), now)
        assert value is not None
        assert tuple(values) == pytest.approx(tuple(value))
        assert SEGMENTS[segment] == score(value).segment


def test_every_condition_has_to_hold(log: Log, now: int) -> None:
    who = customers(log, now)
    edges = quintiles(who.rfm)
    assert members(who, Conditions(), edges) == who.ids.tolist()
    found = members(who, Conditions(recency=Span(max=30), spent=Span(min=20)), edges)
    wanted = (who.recency <= 30) & (who.cents >= 2_000)
    assert 0 < len(found) < 40
    assert found == who.ids[wanted].tolist()
    by_name = [members(who, Conditions(rfm=(name,)), edges) for name in SEGMENTS]
    assert sorted(id for found in by_name for id in found) == sorted(who.ids.tolist())


def test_forecasts_are_conditions_too(log: Log, now: int) -> None:
    who = customers(log, now)
    edges, quiet = quintiles(who.rfm), np.linspace(0, 1, len(who.ids))
    asked: list[float] = []

    def no_order(days: float) -> NDArray[np.float64]:
        asked.append(days)
        return quiet

    leaving = Conditions(churn=Chance(90, Span(min=0.5)), orders=Span(min=1))
    assert members(who, leaving, edges, no_order) == who.ids[quiet >= 0.5].tolist()
    both = Conditions(churn=Chance(90, Span(max=0.8)), next_purchase=Chance(30, Span(max=0.4)))
    assert members(who, both, edges, no_order) == who.ids[(quiet <= 0.8) & (1 - quiet <= 0.4)].tolist()
    assert asked == [90, 90, 30]


def test_guests_belong_to_no_segment(make_log: Callable[..., Log], now: int) -> None:
    made = make_log(people=2, items=10, orders=2)
    guests = Log.of(
        people=["guest:a", "user:b"], person=made.person, item=made.item, occurred=made.occurred, cents=made.cents,
        order=made.order, numbers=made.numbers, item_ids=made.item_ids,
    )  # fmt: skip
    assert customers(guests, now).ids.tolist() == ["b"]


@pytest.mark.parametrize(
    "conditions", [Conditions(), Conditions(("NEW", "LOYAL"), Span(1, 2), Span(min=3), Span(max=9.5))]
)
def test_conditions_are_read_as_they_were_written(conditions: Conditions) -> None:
    assert Conditions.read(conditions.as_json()) == conditions
