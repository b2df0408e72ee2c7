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
    HALF_LIFE,
    KIN_CAUSES,
    LIFT,
    LONGEST,
    PURCHASE_HALF_LIFE,
    lifts,
)
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


def plain_lifts(
    universe: Universe | None, state: State, now: int, context: list[int], viewed: list[int], *, with_kin: bool
) -> dict[int, tuple[float, int, str]]:
    """By item: its lift, the cause, and the reason."""
    newest: dict[int, tuple[float, str]] = {}
    for item, code, occurred in state.recent.tolist():  # newest first
        if occurred > now - LONGEST and item not in newest:
            half_life = PURCHASE_HALF_LIFE if TYPES[code] == EventType.PURCHASE else HALF_LIFE
            strength = LIFT.get(TYPES[code], 0) * 2 ** (-max(now - occurred, 0) / half_life)
            newest[item] = strength, "VIEWED" if TYPES[code] in (EventType.VIEW, EventType.CLICK) else "SIMILAR_TO"
    causes = [(item, *newest[item]) for item in sorted(newest)]
    causes += [(item, CONTEXT_LIFT, "SIMILAR_TO") for item in context]
    causes += [(item, LIFT[EventType.VIEW], "VIEWED") for item in viewed]
    numbers = [] if universe is None else universe.numbers.tolist()
    found: dict[int, tuple[float, int, str]] = {}

    def lift(item: int, weight: float, cause: int, reason: str) -> None:
        before = found.get(item, (0.0, 0, ""))
        if weight > before[0] * (1 + 1e-6) or (weight > before[0] * (1 - 1e-6) and cause < before[1]):
            found[item] = weight, cause, reason

    inside, asked = {cause for cause, _, _ in causes}, 0
    for cause, strength, reason in sorted(causes, key=lambda one: -one[1]):
        if not strength:
            continue
        if cause in numbers:
            assert universe is not None
            row = numbers.index(cause)
            scores = universe.near_score[row] / max(float(universe.near_score[row].max()), 1e-9)
            for place in np.flatnonzero(scores > 0).tolist():
                near = numbers[universe.near[row, place]]
                if near not in inside:
                    lift(near, float(scores[place]) * strength / 2, cause, reason)
        elif with_kin and asked < KIN_CAUSES:
            asked += 1
            others = [number for number in kin(cause).tolist() if number not in inside]
            for number, closeness in zip(others, np.linspace(1, 0.5, len(others)).tolist(), strict=True):
                lift(number, closeness * strength / 2, cause, reason)
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
    expected = plain_lifts(universe, state, now, context, viewed, with_kin=with_kin)
    assert found.numbers.tolist() == sorted(expected)
    np.testing.assert_allclose(found.weight, [expected[number][0] for number in sorted(expected)], rtol=1e-5)
    assert found.because.tolist() == [expected[number][1] for number in sorted(expected)]
    assert [REASONS[code] for code in found.reasons] == [expected[number][2] for number in sorted(expected)]
