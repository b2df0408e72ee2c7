"""Lifts computed in arrays are those computed one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.contract import EventType
from ml.affinity.lifts import (
    CONTEXT_LIFT,
    KIN_CAUSES,
    LIFT,
    LONGEST,
    MOST_EVENTS,
    PURCHASE_HALF_LIFE,
    SUPPORT,
    lifts,
)
from ml.interest import HALF_LIFE
from ml.log import Log
from ml.ranked import REASONS
from ml.snapshot import best_supported, snapshot
from ml.state import EVENT, RETURN, State, fold
from ml.universe import Universe

ITEMS = 400  # 300 of them in the universe
TYPES = list(EventType)


@pytest.fixture(scope="module")
def shop(make_log: Callable[..., Log], now: int) -> Universe:
    """The universe of a shop in which many items are near to several others."""
    log = make_log(people=120, items=ITEMS, orders=12)
    return snapshot(log, best_supported(log, 300), now)


def kin(number: int) -> NDArray[np.uint32]:
    """Up to ten items, some of them in the universe."""
    return (np.arange(number, number + number % 11, dtype=np.uint32) * 37) % (ITEMS + 20) + 1


Cause = tuple[int, float, str]  # item, strength, reason


def plain_causes(state: State, now: int, context: list[int], viewed: list[int]) -> list[Cause]:
    newest: dict[int, Cause] = {}
    for item, code, occurred, _ in state.recent[:MOST_EVENTS].tolist():  # newest first
        if occurred > now - LONGEST and item not in newest:
            half_life = PURCHASE_HALF_LIFE if TYPES[code] == EventType.PURCHASE else HALF_LIFE
            strength = LIFT.get(TYPES[code], 0) * 2 ** (-max(now - occurred, 0) / half_life)
            seen = TYPES[code] in (EventType.VIEW, EventType.CLICK)
            newest[item] = item, strength, "VIEWED" if seen else "SIMILAR_TO"
    causes = [newest[item] for item in sorted(newest)]
    causes += [(item, CONTEXT_LIFT, "SIMILAR_TO") for item in context]
    return causes + [(item, LIFT[EventType.VIEW], "VIEWED") for item in viewed]


def plain_near(universe: Universe | None, cause: int) -> list[tuple[int, float]]:
    """The items near to one in the universe, and how near."""
    numbers = [] if universe is None else universe.numbers.tolist()
    if universe is None or cause not in numbers:
        return []
    row = numbers.index(cause)
    if round(np.expm1(universe.column("people")[row])) < SUPPORT:
        return []
    scores = universe.near_score[row] / max(float(universe.near_score[row].max()), 1e-9)
    return [(numbers[universe.near[row, place]], float(scores[place])) for place in np.flatnonzero(scores > 0).tolist()]


def plain_lifts(universe: Universe | None, causes: list[Cause], *, with_kin: bool) -> dict[int, Cause]:
    """By item: the cause of its lift, the lift, and the reason."""
    inside = {cause for cause, _, _ in causes}
    near = [(one, other, closeness) for one in causes for other, closeness in plain_near(universe, one[0])]
    known: set[int] = set()
    if universe is not None:
        known = set(universe.numbers[np.expm1(universe.column("people")[:-1]).round() >= SUPPORT].tolist())
    outside = sorted((one for one in causes if one[0] not in known and one[1]), key=lambda one: -one[1])
    for one in outside[:KIN_CAUSES] if with_kin else []:
        others = [number for number in kin(one[0]).tolist() if number not in inside]
        near += [(one, *pair) for pair in zip(others, np.linspace(1, 0.5, len(others)).tolist(), strict=True)]
    found: dict[int, Cause] = {}
    for (cause, strength, reason), other, closeness in sorted(near, key=lambda one: one[0][0]):
        weight = closeness * strength / 2
        if other not in inside and weight > found.get(other, (0, 0.0, ""))[1] * (1 + 1e-6):
            found[other] = cause, weight, reason
    return found


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), with_model=st.booleans(), with_kin=st.booleans())
def test_lifts_are_those_computed_one_by_one(
    shop: Universe, now: int, seed: int, with_model: bool, with_kin: bool
) -> None:
    random = np.random.default_rng(seed)
    events = np.zeros(int(random.integers(0, 40)), EVENT)
    events["identity"] = np.arange(1, len(events) + 1)
    events["item"] = random.integers(0, ITEMS + 20, len(events))
    events["type"] = random.integers(0, RETURN + 1, len(events))
    events["occurred"] = now - random.choice([60, 3_600, 50_000, 200_000], len(events)) - np.arange(len(events))
    events["cents"], events["quantity"] = 100, 1
    state = fold(State.empty(), events)
    context, viewed = (random.integers(1, ITEMS + 20, int(random.integers(0, 4))).tolist() for _ in range(2))
    universe = shop if with_model else None
    found = lifts(
        universe, state, now, np.array(context, np.uint32), np.array(viewed, np.uint32), kin if with_kin else None
    )
    expected = plain_lifts(universe, plain_causes(state, now, context, viewed), with_kin=with_kin)
    assert found.numbers.tolist() == sorted(expected)
    np.testing.assert_allclose(found.weight, [expected[number][1] for number in sorted(expected)], rtol=1e-5)
    assert found.because.tolist() == [expected[number][0] for number in sorted(expected)]
    assert [REASONS[code] for code in found.reasons] == [expected[number][2] for number in sorted(expected)]
