"""Several lists of one person, scored together and narrowed, are those scored one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.affinity.model import AffinityModel
from ml.affinity.ranking import Scored, score, select, view_person
from ml.affinity.several_lists import WantedList, looking_at, narrow, score_together
from ml.fallback import Fallback
from ml.state import State, Table, fold

DAY = 86_400
POPULAR = Fallback.popular(np.arange(80, 0, -1, dtype=np.uint32))
NONE = np.empty(0, np.uint32)


@pytest.fixture
def regular(make_events: Callable[..., Table], now: int) -> State:
    """A person who bought 5, 6 and 7 every week until a week ago."""
    return fold(
        State.empty(), np.concatenate([make_events(5, 6, 7, at=now - week * 7 * DAY, apart=0) for week in range(1, 9)])
    )


@pytest.fixture(params=["with a model", "without a model"])
def either(request: pytest.FixtureRequest, model: AffinityModel) -> AffinityModel | None:
    return model if request.param == "with a model" else None


def some(*, of: int = 1) -> NDArray[np.bool_]:
    """Every item, or every second, third ..."""
    allowed = np.zeros(81, np.bool_)
    allowed[of::of] = True
    return allowed


def test_lists_scored_together_are_those_scored_one_by_one(
    either: AffinityModel | None, regular: State, now: int
) -> None:
    view = view_person(either, regular, as_of=now, context=NONE)
    context, viewed = np.array([40], np.uint32), np.array([12], np.uint32)
    others = [view_person(either, regular, as_of=now, context=context, viewed=viewed), view, view]
    views = [looking_at(view, context, viewed), view, view]
    masks = [some(), some(of=2), some(of=7)]
    together = score_together([WantedList(*one, POPULAR) for one in zip(views, masks, strict=True)])
    for found, other, allowed in zip(together, others, masks, strict=True):
        expected = score(other, allowed, POPULAR)
        np.testing.assert_array_equal(found.numbers, expected.numbers)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        assert numbers(found) == numbers(expected)


def numbers(scored: Scored, first: int = 80) -> list[int]:
    found: list[int] = select(scored, first).numbers.tolist()
    return found


def test_no_lists_are_scored_as_none() -> None:
    assert score_together([]) == []


def test_a_narrowed_list_has_the_same_order_without_what_is_not_allowed(
    either: AffinityModel | None, regular: State, now: int
) -> None:
    scored = score(view_person(either, regular, as_of=now, context=np.array([40], np.uint32)), some(), POPULAR)
    candidates = set(scored.numbers.tolist())
    narrowed = narrow(scored, some(of=3))
    assert numbers(narrowed, len(narrowed.numbers)) == [
        number for number in numbers(scored) if number % 3 == 0 and number in candidates
    ]
    assert sorted(numbers(narrowed)) == [number for number in sorted(numbers(scored)) if number % 3 == 0]
    assert (np.diff(select(narrowed, 80).scores) <= 0).all()
    assert numbers(narrow(scored, some())) == numbers(scored)
    assert numbers(narrow(scored, np.zeros(81, np.bool_))) == []
