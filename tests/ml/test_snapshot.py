"""The universe as of a moment uses no later line."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from ml.log import Log, gaps
from ml.rests import NEVER, SHORTEST_REST, rest_times
from ml.snapshot import best_supported, snapshot, with_complements
from ml.universe import COLUMNS, DAY, REBOUGHT, Universe

MakeLog = Callable[..., Log]


def small_log(*lines: tuple[int, int, float, int]) -> Log:
    """Lines of (person, item, day, order)."""
    person, item, day, order = (np.array(column) for column in zip(*lines, strict=True))
    return Log.of(
        people=[f"user:{number}" for number in range(person.max() + 1)],
        person=person.astype(np.int32),
        item=item.astype(np.uint32),
        occurred=(day * DAY).astype(np.int64),
        cents=np.full(len(lines), 250, np.int64),
        order=order.astype(np.int64),
        numbers=np.arange(1, 51, dtype=np.uint32),
        item_ids=[str(number) for number in range(1, 51)],
    )


def test_a_snapshot_ignores_later_lines(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 60 * 86_400
    numbers = best_supported(log, 80)
    early, alone = (
        with_complements(snapshot(lines, numbers, cut), lines, cut) for lines in (log, log.between(None, cut))
    )
    for field in fields(Universe):
        np.testing.assert_array_equal(getattr(early, field.name), getattr(alone, field.name))
    assert not np.array_equal(early.columns, snapshot(log, numbers, now).columns)


def test_the_best_supported_items_have_the_most_purchases() -> None:
    log = small_log((0, 9, 1, 1), (0, 9, 2, 2), (1, 4, 1, 3), (1, 7, 1, 3), (1, 7, 3, 4), (0, 3, 3, 5))
    assert best_supported(log, 2).tolist() == [7, 9]
    assert best_supported(log, 3).tolist() == [4, 7, 9], "of equals a hash chooses"
    assert best_supported(log, 100).tolist() == [3, 4, 7, 9]


def test_items_bought_by_the_same_people_are_near() -> None:
    lines = [(person, item, 1, person) for person in range(20) for item in ((1, 2) if person % 2 else (3, 4))]
    universe = snapshot(small_log(*lines), np.array([1, 2, 3, 4], np.uint32), int(2 * DAY))
    assert universe.numbers[universe.near[:4, 0]].tolist() == [2, 1, 4, 3]
    assert (universe.near[:4, 1:] == 4).all(), "nothing else is near: padding"
    assert (universe.near[4] == 4).all()
    assert (universe.near_score[4] == 0).all()


def test_a_rule_looks_ahead_and_only_at_the_same_person() -> None:
    lines = []
    for person in range(20):
        first, then = ((1, 2), (3, 4))[person % 2]
        lines += [(person, first, 1, 2 * person), (person, then, 2, 2 * person + 1)]
    universe = snapshot(small_log(*lines), np.array([1, 2, 3, 4], np.uint32), int(3 * DAY))
    assert universe.numbers[universe.next[[0, 2], 0]].tolist() == [2, 4]
    assert (universe.next_score[[1, 3]] == 0).all(), "nothing follows 2 and 4"
    assert (universe.next_score[[0, 2], 1:] == 0).all()


def test_the_very_next_order_has_rules_of_its_own() -> None:
    lines = [(person, item, item, 3 * person + item) for person in range(20) for item in (1, 2, 3)]
    universe = snapshot(small_log(*lines), np.array([1, 2, 3], np.uint32), int(4 * DAY))
    assert universe.then is not None
    assert universe.numbers[universe.next[0, :2]].tolist() == [2, 3]
    assert universe.numbers[universe.then[0, :1]].tolist() == [2]
    assert universe.then[0, 1] == 3, "padding"


def test_columns_say_what_changes_now() -> None:
    log = small_log((0, 1, 99, 1), (1, 1, 98, 2), (2, 2, 80, 3), (3, 2, 60, 4))
    universe = snapshot(log, np.array([1, 2], np.uint32), int(100 * DAY))
    assert np.expm1(universe.column("week_people")[:2]) == pytest.approx([1000, 0])
    assert np.exp(universe.column("trend")[:2]) == pytest.approx([4 / 2.5, 2 / 2.25])
    assert np.expm1(universe.column("on_sale")[:2]) == pytest.approx([2, 40], rel=1e-4)
    assert universe.category is None


def test_an_item_is_bought_again_in_the_next_order_or_is_not() -> None:
    lines = [(0, 1, 1, 1), (0, 2, 1, 1), (0, 1, 2, 2), (0, 1, 3, 3), (1, 2, 1, 4), (1, 3, 5, 5), (2, 1, 9, 6)]
    universe = snapshot(small_log(*lines), np.array([1, 2, 3], np.uint32), int(10 * DAY))
    general = 2 / 4  # of the orders of an item that another order follows
    expected = [(2 + 10 * general) / 12, (0 + 10 * general) / 12, general, 0]
    np.testing.assert_allclose(universe.column("next_order"), expected, rtol=1e-5)


def test_items_keep_their_categories() -> None:
    log = replace(small_log((0, 1, 99, 1), (1, 3, 98, 2)), category=np.arange(50, dtype=np.int32) - 1)
    universe = snapshot(log, np.array([1, 3], np.uint32), int(100 * DAY))
    assert universe.category is not None
    assert universe.category.tolist() == [-1, 1, -1]


def test_columns_hold_plain_counts() -> None:
    log = small_log((0, 1, 10, 1), (0, 1, 14, 2), (0, 1, 24, 3), (1, 1, 90, 4), (1, 2, 90, 4))
    universe = snapshot(log, np.array([1, 2], np.uint32), int(100 * DAY))
    columns = {name: np.expm1(universe.column(name)[0]) for name in COLUMNS}
    assert columns["people"] == pytest.approx(2)
    assert columns["recent_people"] == pytest.approx(1000)  # the one person active in the last four weeks
    assert columns["gap"] == pytest.approx(4)  # the lower median of 4 and 10 days
    assert columns["price"] == pytest.approx(250)
    assert universe.numbers[universe.popular].tolist() == [1, 2]


def test_two_lines_of_one_order_are_not_a_rebuy() -> None:
    items, seconds = gaps(small_log((0, 1, 10, 1), (0, 1, 10, 1), (0, 1, 13, 2), (1, 1, 20, 3)))
    assert items.tolist() == [1]
    assert seconds.tolist() == [3 * DAY]


def test_the_rest_time_follows_how_soon_people_rebuy() -> None:
    rows = np.repeat([0, 1], 500).astype(np.int32)
    rest = rest_times(rows, np.repeat([2 * DAY, 60 * DAY], 500), items=3)
    assert rest[0] == pytest.approx(2 * DAY, rel=0.05)
    assert 40 * DAY < rest[1] < 60 * DAY
    assert rest[2] == rest[3] == pytest.approx(2 * DAY)  # never bought again: the general rest time


def test_no_item_rests_for_less_than_six_hours() -> None:
    rest = rest_times(np.zeros(100, np.int32), np.full(100, 60.0), items=1)
    assert (rest == SHORTEST_REST).all()


def test_without_any_rebuy_a_bought_item_rests_for_a_year() -> None:
    assert (rest_times(np.empty(0, np.int32), np.empty(0), items=2) == NEVER).all()


def test_a_category_is_bought_again_when_a_tenth_of_its_buyers_do() -> None:
    lines = [(person, 1 + person % 3, 1.0, person) for person in range(90)]  # items 1 to 3: one category
    lines += [(person, 1, 9.0, 100 + person) for person in range(0, 90, 3)]  # item 1 is bought again by all its buyers
    lines += [(person, 4, 1.0, person) for person in range(90)]  # item 4, alone, by nobody
    lines += [(person, 4, 1.0, person) for person in range(90)]  # two lines of one order are one purchase
    categories = np.full(50, -1, np.int32)
    categories[:3] = 5
    items = np.array([1, 2, 3, 4], np.uint32)
    log = small_log(*lines)
    by_category = snapshot(replace(log, category=categories), items, int(20 * DAY))
    assert by_category.are_rebought(np.array([0, 1, 2, 3, 4], np.int32)).tolist() == [True, True, True, False, False]
    by_item = snapshot(log, items, int(20 * DAY))
    assert by_item.are_rebought(np.array([0, 1, 2, 3, 4], np.int32)).tolist() == [True, False, False, False, False]


def test_a_universe_of_an_earlier_release_knows_what_is_bought_again_by_item(make_log: MakeLog, now: int) -> None:
    universe = replace(snapshot(make_log(), best_supported(make_log(), 80), now), rebought=None)
    rows = np.arange(81, dtype=np.int32)
    expected = [bool(share >= REBOUGHT) for share in universe.column("rebuy")[:-1]]
    assert universe.are_rebought(rows).tolist() == [*expected, False]
