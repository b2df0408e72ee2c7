"""One person's list."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from core.contract import EventType
from ml.affinity.boosting import with_candidates
from ml.affinity.chances import Chance
from ml.affinity.lifts import NONE, Lifts
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import rank, score, select, view_person
from ml.affinity.reranking import rerank
from ml.carts import CART_TIME
from ml.fallback import Fallback
from ml.masks import mask_of
from ml.ranked import REASON, REASONS, Ranked
from ml.state import CODE, State, Table, fold
from ml.ties import mixed
from ml.universe import HOUR, Universe

MakeEvents = Callable[..., Table]
DAY = 86_400
POPULAR = Fallback.popular(np.arange(80, 0, -1, dtype=np.uint32))


def everything() -> NDArray[np.bool_]:
    allowed = np.ones(81, np.bool_)
    allowed[0] = False
    return allowed


def ask(
    model: AffinityModel | None,
    state: State,
    now: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
    context: tuple[int, ...] = (),
    first: int = 10,
) -> Ranked:
    return rank(
        model,
        state,
        as_of=now,
        allowed=everything() if allowed is None else allowed,
        context=np.array(context, np.uint32),
        fallback=POPULAR,
        first=first,
    )


def reason(ranked: Ranked, number: int) -> str:
    return REASONS[ranked.reasons[ranked.numbers.tolist().index(number)]]


@pytest.fixture
def regular(make_events: MakeEvents, now: int) -> State:
    """A person who bought 5, 6 and 7 every week until a week ago."""
    return fold(
        State.empty(), np.concatenate([make_events(5, 6, 7, at=now - week * 7 * DAY, apart=0) for week in range(1, 9)])
    )


@pytest.fixture(params=["with a model", "without a model"])
def either(request: pytest.FixtureRequest, model: AffinityModel) -> AffinityModel | None:
    return model if request.param == "with a model" else None


def test_scores_fall_and_no_item_is_listed_twice(either: AffinityModel | None, regular: State, now: int) -> None:
    ranked = ask(either, regular, now, first=80)
    assert len(ranked.numbers) == len(set(ranked.numbers.tolist())) == 80
    assert (np.diff(ranked.scores) <= 0).all()
    assert ranked.scores[0] <= 1
    assert ranked.scores[-1] >= 0


def test_the_same_question_gets_the_same_answer(either: AffinityModel | None, regular: State, now: int) -> None:
    one, other = ask(either, regular, now), ask(either, regular, now)
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_equal_scores_go_by_popularity_then_by_a_hash(model: AffinityModel, regular: State, now: int) -> None:
    flat = replace(model.network, kernels=(np.zeros_like(model.network.kernels[0]),))
    popular = np.random.default_rng(5).permutation(len(model.numbers)).astype(np.int32)
    even = replace(model, network=flat, universe=replace(model.universe, popular=popular))
    unknown = np.arange(81, 85, dtype=np.uint32)
    looked = replace(regular, items=regular.items[:0])
    view = view_person(even, looked, as_of=now, context=NONE)
    view = replace(view, lifts=Lifts(unknown, np.full(4, 1e-9, np.float32), unknown, np.zeros(4, np.uint8)))
    given = np.arange(1, 85, dtype=np.uint32)
    ranked = select(rerank(view, given, mask_of(given), POPULAR), 84).numbers
    np.testing.assert_array_equal(ranked[:80], model.numbers[popular])
    assert ranked[80:].tolist() == unknown[np.argsort(mixed(unknown))].tolist()


def test_an_item_just_bought_is_left_out(
    either: AffinityModel | None, regular: State, make_events: MakeEvents, now: int
) -> None:
    before = ask(either, regular, now, first=80)
    top = int(before.numbers[0])
    bought = fold(regular, make_events(top, at=now))
    assert top not in ask(either, bought, now, first=80).numbers
    assert len(ask(either, bought, now, first=80).numbers) == 79


def test_a_bought_item_comes_back_when_it_is_due(model: AffinityModel, regular: State, now: int) -> None:
    due = ask(model, regular, now, first=80)
    assert reason(due, 5) == "DUE_AGAIN"
    assert due.every[due.numbers == 5].tolist() == [7]
    assert reason(ask(model, regular, now - 4 * DAY, first=80), 5) == "BOUGHT_BEFORE"


def test_a_filter_never_shortens_a_list(either: AffinityModel | None, regular: State, now: int) -> None:
    allowed = np.zeros(81, np.bool_)
    allowed[20:45] = True
    ranked = ask(either, regular, now, allowed=allowed, first=20)
    assert len(ranked.numbers) == 20
    assert allowed[ranked.numbers].all()


def test_a_list_is_shorter_only_when_nothing_else_is_allowed(
    either: AffinityModel | None, regular: State, now: int
) -> None:
    allowed = np.zeros(81, np.bool_)
    allowed[[5, 9, 30]] = True
    assert sorted(ask(either, regular, now, allowed=allowed).numbers.tolist()) == [5, 9, 30]
    assert len(ask(either, regular, now, allowed=np.zeros(81, np.bool_)).numbers) == 0


def test_items_beyond_the_mask_are_not_returned(either: AffinityModel | None, regular: State, now: int) -> None:
    ranked = ask(either, regular, now, allowed=np.ones(4, np.bool_), context=(3_000_000,), first=3)
    assert sorted(ranked.numbers.tolist()) == [1, 2, 3]


@pytest.mark.parametrize("type", [EventType.VIEW, EventType.CLICK, EventType.ADD_TO_CART, EventType.LIKE])
def test_an_event_about_any_item_lifts_its_neighbours(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int, type: EventType
) -> None:
    before = ask(model, regular, now)
    for number in range(10, 30):
        looked = ask(model, fold(regular, make_events(number, at=now - 5, type=CODE[type])), now)
        assert before.numbers.tolist() != looked.numbers.tolist()
        assert neighbours(model, number)[0] in looked.numbers[:6]
        expected = "VIEWED" if type in (EventType.VIEW, EventType.CLICK) else "SIMILAR_TO"
        named = [REASONS[code] for code, cause in zip(looked.reasons, looked.because, strict=True) if cause == number]
        assert set(named) == {expected}


def neighbours(model: AffinityModel, number: int) -> list[int]:
    """The items nearest to an item, best first."""
    universe = model.universe
    row = universe.rows(np.array([number]))[0]
    found: list[int] = universe.numbers[universe.near[row][universe.near_score[row] > 0]].tolist()
    return found


def test_a_viewed_item_ranks_by_merit_alone(
    either: AffinityModel | None, regular: State, make_events: MakeEvents, now: int
) -> None:
    whole = ask(either, regular, now, first=80).numbers.tolist()
    for number in (5, *range(10, 30)):
        looked = fold(regular, make_events(number, at=now - 5, type=CODE[EventType.VIEW]))
        assert ask(either, looked, now, first=80).numbers.tolist().index(number) >= whole.index(number)


def test_items_viewed_together_do_not_lift_each_other(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    near = neighbours(model, 40)[0]
    looked = fold(regular, make_events(40, near, at=now - 5, type=CODE[EventType.VIEW]))
    before, after = (ask(model, state, now, first=80).numbers.tolist() for state in (regular, looked))
    assert after.index(near) >= before.index(near)


def test_an_item_in_the_cart_is_in_no_list_until_it_is_removed_or_forgotten(
    either: AffinityModel | None, regular: State, make_events: MakeEvents, now: int
) -> None:
    def added(*later: Table) -> State:
        put = make_events(40, at=now - 60, type=CODE[EventType.ADD_TO_CART])
        return fold(regular, np.concatenate([put, *later]))

    def listed(state: State, at: int = now) -> bool:
        return 40 in ask(either, state, at, first=80).numbers

    assert not listed(added())
    assert not listed(added(make_events(40, at=now - 30, type=CODE[EventType.VIEW])))
    assert listed(added(make_events(40, at=now - 30, type=CODE[EventType.REMOVE_FROM_CART])))
    assert not listed(added(make_events(40, at=now - 30, type=CODE[EventType.REMOVE_FROM_CART]),
                            make_events(40, at=now - 10, type=CODE[EventType.ADD_TO_CART])))  # fmt: skip
    assert listed(added(), now + int(CART_TIME))
    assert listed(added(make_events(40, at=now - 30)), now + 400 * DAY), "bought and rested"


def test_a_lift_fades(model: AffinityModel, regular: State, make_events: MakeEvents, now: int) -> None:
    looked = fold(regular, make_events(40, at=now, type=CODE[EventType.VIEW]))
    near = neighbours(model, 40)[0]
    after = [ask(model, looked, now + hour * int(HOUR), first=80).numbers.tolist().index(near) for hour in (0, 12, 30)]
    assert after[0] < after[1] <= after[2]
    assert after[2] == ask(model, regular, now + 30 * int(HOUR), first=80).numbers.tolist().index(near)


def test_removing_an_item_from_the_cart_removes_its_lift(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    added = fold(regular, make_events(40, at=now - 60, type=CODE[EventType.ADD_TO_CART]))
    removed = fold(added, make_events(40, at=now - 30, type=CODE[EventType.REMOVE_FROM_CART]))
    assert ask(model, removed, now).numbers.tolist() == ask(model, regular, now).numbers.tolist()


def test_the_items_of_the_page_lift_their_neighbours(model: AffinityModel, regular: State, now: int) -> None:
    near = neighbours(model, 50)[:3]
    ranked = ask(model, State.empty(), now, context=(50,))
    assert set(near) <= set(ranked.numbers.tolist())
    assert reason(ranked, near[0]) == "SIMILAR_TO"
    assert ranked.because[ranked.numbers.tolist().index(near[0])] == 50


def test_a_page_of_one_item_shows_its_neighbours_and_what_the_person_likes(
    model: AffinityModel, regular: State, now: int
) -> None:
    own = ask(model, regular, now, first=80).numbers.tolist()
    for number in range(40, 60):
        near = [item for item in neighbours(model, number) if item not in own[:3]]
        ranked = ask(model, regular, now, context=(number,), first=6).numbers.tolist()
        assert len(set(ranked) & {*own[:3]}) >= 2
        assert len(set(ranked) & set(near)) >= min(2, len(near))


def test_an_unknown_person_gets_popular_items(either: AffinityModel | None, now: int) -> None:
    ranked = ask(either, State.empty(), now)
    assert {REASONS[code] for code in ranked.reasons} == {"POPULAR"}
    assert len(ranked.numbers) == 10


def test_a_reason_names_only_items_of_the_person(model: AffinityModel, regular: State, now: int) -> None:
    ranked = ask(model, regular, now, first=80)
    named = set(ranked.because.tolist()) - {0}
    assert named
    assert named <= {5, 6, 7}
    np.testing.assert_array_equal(ranked.reasons == REASONS.index("SIMILAR_TO"), ranked.because > 0)


def test_a_reason_names_no_item_that_must_not_be_named(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    looked = fold(regular, make_events(40, at=now - 5, type=CODE[EventType.VIEW]))
    view = view_person(model, looked, as_of=now, context=np.empty(0, np.uint32))
    whole = select(score(view, everything(), POPULAR), 80)
    assert {5, 6, 7, 40} <= set(whole.because.tolist())
    for hidden in ([40], [5, 6], [5, 6, 7, 40]):
        nameable = everything()
        nameable[hidden] = False
        ranked = select(score(view, everything(), POPULAR, nameable), 80)
        np.testing.assert_array_equal(ranked.numbers, whole.numbers)
        assert not set(ranked.because.tolist()) & set(hidden)
        kept = ~np.isin(whole.because, hidden)
        np.testing.assert_array_equal(ranked.reasons[kept], whole.reasons[kept])
        np.testing.assert_array_equal(ranked.because[kept], whole.because[kept])
    assert set(ranked.because.tolist()) == {0}
    assert {REASONS[code] for code in ranked.reasons} <= {"POPULAR", "BOUGHT_BEFORE", "DUE_AGAIN"}


def test_an_item_bought_once_is_due_only_where_people_buy_again(
    universe: Universe, model: AffinityModel, make_events: MakeEvents, now: int
) -> None:
    never = np.zeros(len(universe.numbers) + 1, np.bool_)
    row = universe.rows(np.array([20]))[0]
    some = never.copy()
    some[row] = True
    once = fold(State.empty(), np.concatenate([make_events(20, 20, 20, at=now - 300 * DAY, apart=0)]))  # one order
    twice = fold(once, make_events(20, at=now - 100 * DAY))
    for rebought, state, expected in (
        (never, once, "BOUGHT_BEFORE"),
        (some, once, "DUE_AGAIN"),
        (never, twice, "BOUGHT_BEFORE"),
    ):
        ranker = replace(model, universe=replace(universe, rebought=rebought))
        assert reason(ask(ranker, state, now, first=80), 20) == expected
    ranker = replace(model, universe=replace(universe, rebought=never))
    assert reason(ask(ranker, twice, now + 150 * DAY, first=80), 20) == "DUE_AGAIN"


def test_an_item_newer_than_the_model_can_be_recommended(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    state = fold(regular, np.concatenate([make_events(500, at=now - week * 7 * DAY) for week in range(1, 9)]))
    ranked = ask(model, state, now, allowed=np.ones(501, np.bool_))
    assert 500 in ranked.numbers


def test_a_probability_is_calibrated_or_not_given(
    model: AffinityModel, regular: State, make_events: MakeEvents, now: int
) -> None:
    assert np.isnan(ask(model, regular, now, first=80).probabilities).all(), "nothing is calibrated"
    calibrated = replace(model, chance=Chance(slope=1.0, shift=-1.0, horizon=14 * DAY))
    ranked = ask(calibrated, regular, now, first=80)
    given = ~np.isnan(ranked.probabilities)
    assert given[:10].all()
    odds = ranked.scores[given] / (1 - ranked.scores[given]) * np.exp(-1)
    np.testing.assert_allclose(ranked.probabilities[given], odds / (1 + odds), rtol=1e-3)
    assert np.isnan(ask(calibrated, State.empty(), now).probabilities).all(), "a person without orders"
    looked = ask(calibrated, fold(regular, make_events(40, at=now - 5, type=CODE[EventType.VIEW])), now, first=80)
    viewed = looked.reasons == REASON["VIEWED"]
    assert viewed.any() and np.isnan(looked.probabilities[viewed]).all(), "lifted"
    assert np.isnan(ask(None, regular, now).probabilities).all(), "without a model"
    taken = ranked.take(np.array([2, 0]))
    assert taken.probabilities.tolist() == ranked.probabilities[[2, 0]].tolist()


def test_the_head_of_the_fallback_has_no_probability_as_candidates_either(
    model: AffinityModel, regular: State, now: int
) -> None:
    calibrated = replace(model, chance=Chance(slope=1.0, shift=-1.0, horizon=14 * DAY))
    view = view_person(calibrated, regular, as_of=now, context=NONE)
    scored = score(view, everything(), POPULAR)
    filled = with_candidates(
        replace(
            scored,
            numbers=NONE,
            own=np.empty(0, np.float32),
            scores=np.empty(0, np.float32),
            order=np.empty(0, np.intp),
        )
    )
    ranked = select(filled, 20)
    assert len(filled.numbers) and ranked.numbers.tolist() == POPULAR.order[0][:20].tolist()
    assert np.isnan(ranked.probabilities).all()
