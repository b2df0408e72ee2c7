"""Segments: the figures are those of `User.rfm`."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.log import Log, Signals
from ml.rfm import FALLBACK_EDGES, SEGMENTS, rfm, score
from ml.segments import customers, rfm_segments
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


def test_guests_belong_to_no_segment(make_log: Callable[..., Log], now: int) -> None:
    made = make_log(people=2, items=10, orders=2)
    guests = Log.of(
        people=["guest:a", "user:b"], person=made.person, item=made.item, occurred=made.occurred, cents=made.cents,
        order=made.order, numbers=made.numbers, item_ids=made.item_ids,
    )  # fmt: skip
    assert customers(guests, now).ids.tolist() == ["b"]
