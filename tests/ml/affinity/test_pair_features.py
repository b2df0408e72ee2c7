"""Features mean what their names say, and training computes the same ones as serving."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.contract import EventType
from ml.affinity.candidates import find_candidates, gather_evidence
from ml.affinity.pair_features import FEATURES, pair_features
from ml.affinity.sources import SOURCES
from ml.affinity.training_lists import candidate_features, training_lists
from ml.log import Log
from ml.masks import mask_of, without
from ml.rests import resting
from ml.snapshot import best_supported, snapshot
from ml.state import CODE, State, Table, fold
from ml.universe import Universe

MakeLog = Callable[..., Log]
MakeEvents = Callable[..., Table]
DAY = 86_400


def features(universe: Universe, state: State, numbers: list[int], now: int) -> dict[str, Any]:
    pairs = pair_features(gather_evidence(universe, state, now), np.array(numbers, np.uint32))
    return {name: FEATURES.read(pairs, name) for name in FEATURES}


def test_features_of_a_weekly_habit(universe: Universe, make_events: MakeEvents, now: int) -> None:
    weeks = [make_events(5, 6, at=now - week * 7 * DAY, apart=0) for week in (1, 2, 3)]
    state = fold(State.empty(), np.concatenate([*weeks, make_events(6, at=now - 2 * DAY)]))
    found = features(universe, state, [5, 6, 7], now)
    assert found["bought"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(np.expm1(found["lines"]), [3, 4, 0], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["recency"]), [7, 2, 0], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["since"]), [1, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["own_gap"]), [7, 19 / 3, 0], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["due"]), [1, 2 / (19 / 3), 0], rtol=1e-5)
    np.testing.assert_allclose(found["share"], [3 / 4, 1, 0])
    np.testing.assert_allclose(np.expm1(found["orders"]), 4, rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["quiet"]), 2, rtol=1e-5)
    assert (found["decayed_share"][:2] ** 2).sum() == pytest.approx(1, abs=1e-5)


def test_habits_are_read_from_the_newest_orders(universe: Universe, make_events: MakeEvents, now: int) -> None:
    weeks = [make_events(5, 6, at=now - week * 7 * DAY, apart=0) for week in (1, 2, 3)]
    state = fold(State.empty(), np.concatenate([*weeks, make_events(6, at=now - 2 * DAY)]))
    found = features(universe, state, [5, 6, 7], now)
    weights = 0.7 ** np.arange(4)
    np.testing.assert_allclose(found["orders_fast"], [weights[1:].sum() / weights.sum(), 1, 0], rtol=1e-5)
    np.testing.assert_allclose(found["fresh"], [1 / 2, 1, 0])
    np.testing.assert_allclose(found["rate"], [3 / 4, 1, 0])
    np.testing.assert_allclose(found["lateness"], [0, np.log(2 / 5), 0], atol=1e-5)
    assert found["overdue"][1] < found["overdue"][0], "what was bought two days ago is not due"
    later = features(universe, state, [5, 6, 7], now + 30 * DAY)
    assert (later["overdue"] > found["overdue"])[:2].all()


def test_purchases_fade_by_three_half_lives(universe: Universe, make_events: MakeEvents, now: int) -> None:
    days = (5, 40, 300)
    state = fold(State.empty(), np.concatenate([make_events(5, at=now - day * DAY) for day in days]))
    found = features(universe, state, [5, 6], now)
    for name, half in (("decayed_fast", 10), ("decayed", 42), ("decayed_slow", 180)):
        expected = sum(0.5 ** (day / half) for day in days)
        np.testing.assert_allclose(np.expm1(found[name]), [expected, 0], rtol=1e-5)


def test_older_purchases_than_the_state_keeps_line_by_line_fade_as_their_sum_says(
    universe: Universe, make_events: MakeEvents, now: int
) -> None:
    days = np.arange(200)
    state = fold(State.empty(), np.concatenate([make_events(5, at=now - int(day) * DAY) for day in days]))
    assert len(state.ledger.lines) < len(days)
    found = features(universe, state, [5], now)
    for name, half in (("decayed_fast", 10), ("decayed_slow", 180)):
        np.testing.assert_allclose(np.expm1(found[name]), [(0.5 ** (days / half)).sum()], rtol=0.1)


def test_a_person_has_a_basket_and_buys_again_or_not(universe: Universe, make_events: MakeEvents, now: int) -> None:
    first = make_events(5, 6, at=now - 9 * DAY, apart=0)
    state = fold(State.empty(), np.concatenate([first, make_events(5, at=now - DAY, cents=700)]))
    found = features(universe, state, [5, 6, 7], now)
    np.testing.assert_allclose(np.expm1(found["basket"]), 3 / 2, rtol=1e-5)
    np.testing.assert_allclose(np.expm1(found["again"]), 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(found["spent"] ** 2, [800 / 900, 100 / 900, 0], rtol=1e-5)


def test_the_closest_item_counts_however_many_others_are_near(
    universe: Universe, make_events: MakeEvents, now: int
) -> None:
    state = fold(State.empty(), make_events(5, 12, 12, at=now - DAY))
    found = features(universe, state, universe.numbers.tolist(), now)["closest"]
    of = universe.rows(np.array([5, 12]))
    for row in range(len(universe.numbers)):
        scores = universe.near_score[of][universe.near[of] == row]
        assert found[row] == scores.max(initial=0)


def test_evidence_is_also_given_over_the_largest_of_all_items(
    universe: Universe, make_events: MakeEvents, now: int
) -> None:
    viewed = make_events(5, 12, at=now - DAY // 24, type=CODE[EventType.VIEW])
    state = fold(State.empty(), np.concatenate([make_events(5, 12, 31, at=now - DAY), viewed]))
    found = features(universe, state, universe.numbers.tolist(), now)
    for name in SOURCES.keys() - {"sequence"}:  # there is no net here
        assert found[name].max() > 0
        np.testing.assert_allclose(found[f"{name}_relative"], found[name] / found[name].max(), rtol=1e-6)
    few = features(universe, state, [40, 50], now)
    rows = universe.rows(np.array([40, 50]))
    np.testing.assert_array_equal(few["near_relative"], found["near_relative"][rows])


def test_categories_count_by_what_the_person_buys_of_them(
    universe: Universe, make_events: MakeEvents, now: int
) -> None:
    category = np.full(len(universe.numbers) + 1, -1, np.int32)
    category[universe.rows(np.array([5, 6, 7, 8, 9]))] = [0, 0, 1, 1, 2]
    state = fold(State.empty(), make_events(5, 6, 7, 20, at=now, apart=0))
    found = features(replace(universe, category=category), state, [5, 7, 8, 9, 20, 21, 4_000_000_000], now)
    np.testing.assert_allclose(found["category_share"], [2 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found["category_relative"], [1, 1 / 2, 1 / 2, 0, 0, 0, 0], rtol=1e-6)
    assert not features(replace(universe, category=None), state, [5], now)["category_share"].any()


def test_all_features_are_finite_for_unusual_states(universe: Universe, make_events: MakeEvents, now: int) -> None:
    unusual = [
        State.empty(),
        fold(State.empty(), make_events(5, at=now + 1000)),  # its clock is ahead
        fold(State.empty(), make_events(5, 5, 5, at=now, apart=0, cents=-5)),
        fold(State.empty(), make_events(4_000_000_000, at=1)),
    ]
    for state in unusual:
        for column in features(universe, state, [5, 79, 90, 4_000_000_000], now).values():
            assert np.isfinite(column).all()


def test_training_rebuilds_the_features_that_serving_computes(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 30 * DAY
    numbers = best_supported(log, 80)
    universe = snapshot(log, numbers, cut)
    for person in range(0, 60, 7):
        rebuilt = candidate_features(log, universe, person, cut)
        assert rebuilt is not None
        before = log.events[(log.person == person) & (log.occurred < cut)]
        base, recent = before[: len(before) // 2], before[len(before) // 3 :]  # the delta overlaps the base
        state = fold(fold(State.empty(), base).with_included(base["identity"]), recent[::-1])
        state = State.unpack(state.pack())
        allowed = without(mask_of(numbers), resting(universe, state, cut))
        evidence = gather_evidence(universe, state, cut)
        found = find_candidates(evidence, allowed, np.empty(0, np.uint32))
        served = pair_features(evidence, found)
        np.testing.assert_array_equal(found, rebuilt.numbers)
        np.testing.assert_allclose(served, rebuilt.features, rtol=2e-5, atol=1e-6)


def test_features_as_of_a_moment_ignore_later_lines(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 30 * DAY
    universe = snapshot(log, best_supported(log, 80), cut)
    for person in (0, 20, 40):
        known, alone = (candidate_features(each, universe, person, cut) for each in (log, log.between(None, cut)))
        assert known is not None
        assert alone is not None
        np.testing.assert_array_equal(known.features, alone.features)


def test_training_lists_keep_bought_items_and_pad_the_rest(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 30 * DAY
    universe = snapshot(log, best_supported(log, 80), cut)
    lists = training_lists(log, universe, cut, now, length=128, most=1000, seed=1)
    assert lists.features.shape == (len(lists), 128, len(FEATURES))
    assert ((lists.labels == 1).sum(1) > 0).all()
    assert (lists.labels[:, 100:] == -1).all(), "there are 80 items"
    short = training_lists(log, universe, cut, now, length=10, most=5, seed=1)
    assert short.labels.shape == (5, 10)
    assert (short.labels >= 0).all()


def test_the_seed_decides_which_lists_are_drawn(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 30 * DAY
    universe = snapshot(log, best_supported(log, 80), cut)
    drawn = [training_lists(log, universe, cut, now, 10, 5, seed).features for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
