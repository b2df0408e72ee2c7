"""A disliked item is hidden from one person's lists, names no reason, and lowers its neighbours."""

from collections.abc import Callable

import numpy as np
import pytest

from core.contract import EventType
from ml.affinity.dislikes import LOWERING, dislikes
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import rank
from ml.fallback import Fallback
from ml.ranked import Ranked
from ml.state import CODE, State, Table, fold
from ml.universe import Universe

MakeEvents = Callable[..., Table]
DAY = 86_400
POPULAR = np.arange(80, 0, -1, dtype=np.uint32)
DISLIKE, LIKE, RATING, VIEW = (
    CODE[kind] for kind in (EventType.DISLIKE, EventType.LIKE, EventType.RATING, EventType.VIEW)
)


def ask(model: AffinityModel | None, state: State, now: int, first: int = 80) -> Ranked:
    allowed = np.ones(81, np.bool_)
    allowed[0] = False
    none = np.empty(0, np.uint32)
    return rank(model, state, as_of=now, allowed=allowed, context=none, fallback=Fallback.popular(POPULAR), first=first)


@pytest.fixture(params=["with a model", "without a model"])
def either(request: pytest.FixtureRequest, model: AffinityModel) -> AffinityModel | None:
    return model if request.param == "with a model" else None


@pytest.fixture
def regular(make_events: MakeEvents, now: int) -> State:
    """A person who bought 5, 6 and 7 every week until a week ago."""
    weeks = [make_events(5, 6, 7, at=now - week * 7 * DAY, apart=0) for week in range(1, 9)]
    return fold(State.empty(), np.concatenate(weeks))


@pytest.mark.parametrize(("type", "cents"), [(DISLIKE, 0), (RATING, 100), (RATING, 200)])
@pytest.mark.parametrize("number", [5, 40, 80])
def test_a_disliked_item_is_in_no_list_however_long(
    either: AffinityModel | None, regular: State, make_events: MakeEvents, now: int, type: int, cents: int, number: int
) -> None:
    assert number in ask(either, regular, now).numbers
    disliked = fold(regular, make_events(number, at=now - 60, type=type, cents=cents))
    seen_again = fold(disliked, make_events(number, at=now - 30, type=VIEW))
    for state in (disliked, seen_again, State.unpack(disliked.pack())):
        assert number not in ask(either, state, now).numbers
        assert len(ask(either, state, now).numbers) == 79


@pytest.mark.parametrize(("type", "cents", "back"), [(LIKE, 0, True), (RATING, 300, True), (RATING, 250, False)])
def test_a_later_like_or_good_rating_takes_it_back(
    either: AffinityModel | None, regular: State, make_events: MakeEvents, now: int, type: int, cents: int, back: bool
) -> None:
    disliked = fold(regular, make_events(40, at=now - 60, type=DISLIKE))
    assert (
        40 in ask(either, fold(disliked, make_events(40, at=now - 30, type=type, cents=cents)), now).numbers
    ) is back
    earlier = fold(disliked, make_events(40, at=now - 90, type=type, cents=cents))
    assert 40 not in ask(either, earlier, now).numbers


def test_a_later_purchase_takes_it_back_once_the_item_no_longer_rests(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    disliked = fold(regular, make_events(5, at=now - 60 * DAY, type=DISLIKE))
    assert 5 in ask(model, disliked, now).numbers, "it was bought after that"
    assert 40 not in ask(model, fold(regular, make_events(40, at=now - 60 * DAY, type=DISLIKE)), now).numbers


def test_a_disliked_item_names_no_reason(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    assert 5 in ask(model, regular, now).because
    disliked = fold(regular, make_events(5, at=now - 60, type=DISLIKE))
    assert 5 not in ask(model, disliked, now).because
    assert {6, 7} & set(ask(model, disliked, now).because.tolist())


def test_neighbours_of_a_disliked_item_score_lower_and_others_as_before(
    model: AffinityModel, universe: Universe, regular: State, make_events: MakeEvents, now: int
) -> None:
    before, after = (
        dict(zip(ranked.numbers.tolist(), ranked.scores.tolist(), strict=True))
        for ranked in (
            ask(model, state, now) for state in (regular, fold(regular, make_events(40, at=now - 60, type=DISLIKE)))
        )
    )
    row = universe.rows(np.array([40]))[0]
    near = universe.numbers[universe.near[row][universe.near_score[row] > 0]].tolist()
    nearest = near[0]
    assert after[nearest] == pytest.approx(before[nearest] * (1 - LOWERING), rel=1e-4)
    assert all(after[number] <= before[number] + 1e-6 for number in near)
    found = dislikes(universe, fold(State.empty(), make_events(40, at=now - 60, type=DISLIKE)))
    assert ((found.factor >= 1 - LOWERING) & (found.factor < 1)).all()
    assert 40 not in found.near.tolist()


def test_the_lists_of_other_people_stay(model: AffinityModel, regular: State, now: int) -> None:
    assert len(ask(model, State.empty(), now).numbers) == 80
