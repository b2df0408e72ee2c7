"""Views, carts, likes and ratings: what they say is learned from the log; the running visit; nothing from later."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.browsing_shop import BrowsingShop, make_browsing_shop, without_views
from core.contract import EventType
from ml.affinity.candidates import find_candidates, gather_evidence, to_keep
from ml.affinity.lifts import lifts
from ml.affinity.pair_features import FEATURES, pair_features
from ml.affinity.training_lists import candidate_features
from ml.affinity.visit_features import VISIT, VISITOR
from ml.baskets import all_baskets, beyond_carts
from ml.interest import ASSUMED, Interest
from ml.interest_learning import learned
from ml.log import Log, Signals
from ml.masks import mask_of
from ml.snapshot import snapshot
from ml.state import CODE, EVENT, INTEREST, MOST_RECENT, PURCHASE, RETURN, State, fold
from ml.universe import HOUR, Universe
from ml.visits import LONGEST_SESSION, PAUSE, running_visit

VIEW, CART, OUT = (CODE[kind] for kind in (EventType.VIEW, EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART))
DAY = 86_400
SMALL = BrowsingShop(people=60, items=60, categories=6, days=90, visits=10)


@pytest.fixture(scope="module")
def shop() -> Log:
    return make_browsing_shop(SMALL)


def viewed(*rows: tuple[int, int, int, int]) -> State:
    """The state after events: type, item, second, session."""
    events = np.zeros(len(rows), EVENT)
    for at, (type, item, occurred, session) in enumerate(rows):
        events[at] = (at + 1, type, item, occurred, 1, 0, session)
    return fold(State.empty(), events)


def test_a_visit_ends_after_a_pause_unless_the_session_goes_on(now: int) -> None:
    paused = viewed((VIEW, 1, now - 2 * PAUSE - 9, 0), (VIEW, 2, now - PAUSE, 0), (CART, 3, now - 5, 0))
    assert running_visit(paused, now)["item"].tolist() == [3, 2]
    named = viewed((VIEW, 1, now - 3 * PAUSE, 7), (VIEW, 2, now - PAUSE, 7), (VIEW, 3, now - 5, 7))
    assert running_visit(named, now)["item"].tolist() == [3, 2, 1]
    other = viewed((VIEW, 1, now - 60, 7), (VIEW, 2, now - 30, 8), (VIEW, 3, now - 5, 0))
    assert running_visit(other, now)["item"].tolist() == [3, 2], "a session of its own is a visit of its own"
    assert len(running_visit(paused, now + PAUSE)) == 0, "nobody is there any more"
    bought = viewed((PURCHASE, 1, now - 60, 0), (OUT, 2, now - 30, 0))
    assert len(running_visit(bought, now)) == 0, "a log of purchases alone has no visits"
    long = viewed(*((VIEW, at + 1, now - 5, 0) for at in range(2 * MOST_RECENT)))
    assert len(running_visit(long, now)) == MOST_RECENT


def test_a_session_that_the_page_names_runs_and_no_other_counts(now: int) -> None:
    two = viewed((VIEW, 1, now - 3 * PAUSE, 7), (VIEW, 2, now - 2 * PAUSE, 7), (VIEW, 3, now - 60, 8))
    assert running_visit(two, now)["item"].tolist() == [3]
    assert running_visit(two, now, 7)["item"].tolist() == [2, 1], "however long the pause"
    assert running_visit(two, now, 8)["item"].tolist() == [3]
    assert len(running_visit(two, now, 9)) == 0, "it has only begun"
    assert len(running_visit(two, now + LONGEST_SESSION, 7)) == 0
    assert len(running_visit(two, now - 4 * PAUSE, 7)) == 0, "as of before it"
    mixed = viewed((VIEW, 1, now - 90, 7), (VIEW, 2, now - 60, 0), (VIEW, 3, now - 30, 8))
    assert running_visit(mixed, now, 7)["item"].tolist() == [2, 1], "an event without a session is of the visit around"


def test_evidence_that_is_kept_is_of_no_session(universe: Universe, now: int) -> None:
    item, other = universe.numbers[:2].tolist()
    state = viewed((VIEW, item, now - 2 * PAUSE, 7), (VIEW, other, now - 60, 8))
    kept = to_keep(gather_evidence(universe, state, now, session=7))
    for session, seen in ((7, [item]), (8, [other]), (0, [other]), (9, [])):
        found = gather_evidence(universe, state, now, kept, session)
        assert found.first is kept and found.history.visit["item"].tolist() == seen


def test_features_of_the_running_visit(universe: Universe, now: int) -> None:
    coded = replace(universe, category=np.append(np.arange(len(universe.numbers)) % 4, -1).astype(np.int32))
    a, b, c, d = universe.numbers[[0, 4, 1, 2]].tolist()  # a and b are of one category
    state = viewed((VIEW, a, now - 90, 0), (VIEW, a, now - 60, 0), (CART, c, now - 30, 0), (VIEW, 9_999, now - 9, 0))
    found = pair_features(gather_evidence(coded, state, now), np.array([a, b, c, d], np.uint32))
    read = {name: FEATURES.read(found, name) for name in (*VISIT, *VISITOR)}
    np.testing.assert_allclose(np.expm1(read["visit_item"]), [2, 0, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(read["visit_category"], [2 / 3, 2 / 3, 1 / 3, 0], rtol=1e-5)
    assert np.expm1([read[name][0] for name in VISITOR]).round().tolist() == [4, 3, 1]
    later = pair_features(gather_evidence(coded, state, now + PAUSE), np.array([a], np.uint32))
    assert all(FEATURES.read(later, name)[0] == 0 for name in (*VISIT, *VISITOR))


def test_what_was_looked_at_is_a_candidate_and_fades(universe: Universe, now: int) -> None:
    item = int(universe.numbers[np.argmin(universe.column("people")[:-1])])
    state = viewed((VIEW, item, now - int(6 * HOUR), 0))
    evidence = gather_evidence(universe, state, now)
    assert item in find_candidates(evidence, mask_of(universe.numbers), np.empty(0, np.uint32))
    said = evidence.said["seen"].of(universe.rows(np.array([item])))[0]
    assert said == pytest.approx(np.log1p(ASSUMED.weight[VIEW] / 2))


def test_weights_and_half_lives_are_learned_where_the_log_has_enough(shop: Log) -> None:
    found = learned(shop)
    assert found.learned[VIEW] and not found.learned[CART]
    assert 0.1 < found.weight[VIEW] < 0.4 and found.half_life[VIEW] > 0
    assert found.weight[CART] == ASSUMED.weight[CART]
    few = replace(shop, signals=shop.signals.where(np.arange(len(shop.signals.person)) < 100))
    assert learned(few) is few.assumed
    given = Interest.assumed({EventType.CLICK: 0.1}, {EventType.LIKE: 5.0})
    set_by_shop = learned(replace(shop, assumed=given))
    assert set_by_shop.weight[CODE[EventType.CLICK]] == 0.1 and set_by_shop.half_life[CODE[EventType.LIKE]] == 5.0
    again = Interest.read(found.table)
    np.testing.assert_allclose(again.weight, found.weight, rtol=1e-6)
    assert again.learned.tolist() == found.learned.tolist()


def test_a_fast_and_a_slow_shop_are_told_apart(now: int) -> None:
    found = []
    for delay in (600, 5 * DAY):  # from a view to the order of the item; other views are as old as orders are rare
        random, lines, views = np.random.default_rng(1), [], []
        for person in range(300):
            for order in range(4):
                at = now - (40 - 10 * order) * DAY
                items = random.choice(50, 3, replace=False) + 1
                lines.append((person, items[0], at, person * 10 + order))
                views += [(person, items[0], at - delay + random.integers(300)), (person, items[1], at - 9 * DAY)]
        found.append(learned(log_of(lines, views)))
    assert found[0].half_life[VIEW] < found[1].half_life[VIEW]


def log_of(lines: Sequence[tuple[Any, ...]], views: Sequence[tuple[Any, ...]], type: int = VIEW) -> Log:
    person, item, occurred, order = np.array(lines, np.int64).T
    events = np.zeros(len(views), EVENT)
    events["type"], events["quantity"] = type, 1
    events["item"], events["occurred"] = [view[1] for view in views], [view[2] for view in views]
    numbers = np.arange(1, 51, dtype=np.uint32)
    return Log.of(
        people=[f"user:{at}" for at in range(person.max() + 1)],
        person=person.astype(np.int32), item=item.astype(np.uint32), occurred=occurred,
        cents=np.ones(len(item), np.int64), order=order, numbers=numbers, item_ids=[f"i{at}" for at in numbers],
        signals=Signals(np.array([view[0] for view in views], np.int32), events),
    )  # fmt: skip


def test_events_that_the_ranker_learned_from_lift_nothing_more(shop: Log, now: int) -> None:
    cut = int(shop.occurred.max()) + 1
    universe = snapshot(shop, shop.numbers, cut)
    item = int(universe.popular_numbers[0])
    state = viewed((VIEW, item, cut - 60, 0))
    none = np.empty(0, np.uint32)
    assert len(lifts(universe, state, cut, none).numbers) == 0
    unlearned = replace(universe, interest=Interest.read(universe.interest).unlearned.table)
    assert len(lifts(unlearned, state, cut, none).numbers) > 0
    assert len(lifts(universe, state, cut, np.array([item], np.uint32)).numbers) > 0, "the page still lifts"


def test_what_is_in_the_cart_is_no_target(now: int) -> None:
    at = now - DAY
    lines = [(0, 1, at, 1), (0, 2, at, 1), (1, 1, at, 2), (2, 3, at, 3)]
    log = log_of(lines, [(0, 1, at - 60), (1, 1, at - 60), (2, 3, at + 60)], CART)
    left = beyond_carts(log, all_baskets(log, at))
    assert (left.people.tolist(), left.items.tolist()) == ([0, 2], [2, 3])


def test_a_log_without_views_has_the_features_it_had(shop: Log) -> None:
    blind, cut = without_views(shop), int(np.quantile(shop.occurred, 0.8))
    universe, other = snapshot(blind, blind.numbers, cut), snapshot(shop, shop.numbers, cut)
    assert learned(blind) is ASSUMED
    seen = [name for name in FEATURES if "seen" in name or name in (*VISIT, *VISITOR)]
    for person in range(10):
        state = blind.state(person, cut)
        found = pair_features(gather_evidence(universe, state, cut), blind.numbers)
        assert all(not FEATURES.read(found, name).any() for name in seen)
        views = pair_features(gather_evidence(other, shop.state(person, cut), cut), shop.numbers)
        for name in set(FEATURES) - set(seen):
            np.testing.assert_array_equal(FEATURES.read(found, name), FEATURES.read(views, name), err_msg=name)


@pytest.mark.parametrize("type", [VIEW, CART, OUT, RETURN, *(CODE[k] for k in (EventType.DISLIKE, EventType.LIKE))])
def test_a_planted_future_event_changes_nothing(shop: Log, type: int) -> None:
    cut = int(np.quantile(shop.occurred, 0.8))
    planted = np.repeat(shop.signals.events[:1], 60 * 10)
    planted["type"], planted["occurred"], planted["order"] = type, cut, 0
    planted["item"], planted["quantity"] = np.tile(np.arange(1, 11), 60), 99
    people = np.repeat(np.arange(60, dtype=np.int32), 10)
    future = Signals(np.concatenate([shop.signals.person, people]), np.concatenate([shop.signals.events, planted]))
    names = ("people", "person", "item", "occurred", "cents", "order", "numbers", "item_ids")
    later = Log.of(*(getattr(shop, name) for name in names), category=shop.category, signals=future)
    one, other = (snapshot(log, log.numbers, cut) for log in (shop, later))
    for name in ("columns", "near_score", "next_score", "ease_score", "interest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for person in range(20):
        ours, theirs = (candidate_features(log, one, person, cut) for log in (shop, later))
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            np.testing.assert_array_equal(ours.numbers, theirs.numbers)
            np.testing.assert_array_equal(ours.features, theirs.features)


def test_views_by_type_are_those_of_interest() -> None:
    assert {name for name, code in CODE.items() if ASSUMED.weight[code] > 0} == {
        name for name, code in CODE.items() if INTEREST[code]
    }


def test_a_bot_does_not_outvote_the_people_of_a_shop() -> None:
    shop = make_browsing_shop(SMALL)
    events = shop.signals.events
    bot = np.zeros(20_000, EVENT)  # of one person with an order at the end, each of another item
    bot["item"], bot["type"] = np.arange(len(bot)) + 1_000, VIEW
    person = int(shop.person[-1])
    bot["occurred"] = int(shop.occurred[-1]) - 1 - np.arange(len(bot)) * 20
    together = Signals(np.append(shop.signals.person, np.full(len(bot), person, np.int32)), np.append(events, bot))
    by = np.lexsort((together.events["occurred"], together.person))
    visited = replace(shop, signals=Signals(together.person[by], together.events[by]))
    plain, mixed = (learned(each) for each in (shop, visited))
    assert plain.learned[VIEW]
    assert mixed.weight[VIEW] == pytest.approx(plain.weight[VIEW], rel=0.15)
    assert mixed.half_life[VIEW] == plain.half_life[VIEW]
