"""Places by chance: how often an item has one is what the list says, and nothing else has one."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.affinity.explorable import AT_ONCE, DRAWS, FEW, MOST, Explorable, ItemColumns, explorable
from ml.affinity.exploring import Exploration, mixed_in
from ml.ranked import REASON, Ranked, explain_as
from ml.universe import COLUMNS, DAY, Universe

NOW = 20_000 * int(DAY)
Numbers = NDArray[np.uint32]


def items_of(count: int, seed: int) -> Explorable:
    """Items 1 to `count`, with draws of which many are equal."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(np.arange(1, count + 1)).astype(np.uint32)
    return Explorable(numbers, random.integers(1, 6, (DRAWS, count)).astype(np.float32))


def whole(items: Explorable, allowed: NDArray[np.bool_], order: Numbers, share: float, draw: int, size: int) -> Ranked:
    exploration = Exploration(items, share, draw)
    ranked = Ranked(order[:size], np.linspace(1, 0, size, dtype=np.float32)[: len(order)], explain_as("POPULAR"))
    return mixed_in(ranked, exploration.picks(allowed, order, size), size)


masks = st.lists(st.booleans(), min_size=41, max_size=41).map(lambda found: np.array(found, np.bool_))
orders = st.lists(st.integers(31, 60), unique=True).map(lambda found: np.array(found, np.uint32))
shares = st.sampled_from((0.05, 0.1, 0.25, 0.3))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 99), masks, orders, shares)
def test_an_item_has_a_place_in_as_many_draws_as_the_list_says(
    count: int, seed: int, allowed: NDArray[np.bool_], order: Numbers, share: float
) -> None:
    items = items_of(count, seed)
    lists = [whole(items, allowed, order, share, draw, 20) for draw in range(DRAWS)]
    reasons = [one.explained.reasons == REASON["EXPLORATION"] for one in lists]
    found = Counter(
        (place, int(one.numbers[place]))
        for one, by_chance in zip(lists, reasons, strict=True)
        for place in np.flatnonzero(by_chance).tolist()
    )
    for one, by_chance in zip(lists, reasons, strict=True):
        for place in np.flatnonzero(by_chance).tolist():
            assert one.chosen[int(one.numbers[place])] == found[place, int(one.numbers[place])]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 99), masks, orders, shares, st.integers(0, DRAWS - 1))
def test_only_allowed_items_have_such_places_and_the_others_keep_their_order(
    count: int, seed: int, allowed: NDArray[np.bool_], order: Numbers, share: float, draw: int
) -> None:
    items = items_of(count, seed)
    found = whole(items, allowed, order, share, draw, 20)
    numbers, by_chance = found.numbers.tolist(), found.explained.reasons == REASON["EXPLORATION"]
    assert len(set(numbers)) == len(numbers) <= 20
    explored = found.numbers[by_chance].tolist()
    assert set(explored) <= set(items.numbers[allowed[items.numbers]].tolist()) - set(order.tolist())
    assert found.numbers[~by_chance].tolist() == order[: 20 - len(explored)].tolist()
    assert (np.diff(found.scores) <= 0).all()
    assert np.isnan(found.probabilities[by_chance]).all()
    left = len(set(items.numbers[allowed[items.numbers]].tolist()) - set(order.tolist()))
    due = [place for place in range(20) if int((place + 1) * share + 1e-9) > int(place * share + 1e-9)]
    assert len(explored) == min(left, len(due))
    if len(order) >= 20:
        assert np.flatnonzero(by_chance).tolist() == due[: len(explored)]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 99), masks, shares, st.integers(0, DRAWS - 1), st.integers(1, 19))
def test_further_pages_go_on_with_the_same_draw(
    count: int, seed: int, allowed: NDArray[np.bool_], share: float, draw: int, first: int
) -> None:
    items, order = items_of(count, seed), np.arange(41, 91, dtype=np.uint32)
    both = whole(items, allowed, order, share, draw, 30)
    seen = both.numbers[:first]
    left, may = order[~np.isin(order, seen)], allowed.copy()
    may[seen[seen < len(may)]] = False
    exploration = Exploration(items, share, draw, seen)
    ranked = Ranked(left[: 30 - first], np.linspace(1, 0, len(left[: 30 - first]), dtype=np.float32), explain_as("NEW"))
    page = mixed_in(ranked, exploration.picks(may, left, 30 - first), 30 - first)
    assert page.numbers.tolist() == both.numbers[first:].tolist()
    assert {number: both.chosen[number] for number in page.chosen} == page.chosen


def universe_of(people: list[float], days: list[float]) -> Universe:
    """Items 1 to n, so many people bought each in so many days."""
    n = len(people)
    columns = np.zeros((n + 1, len(COLUMNS)), np.float32)
    columns[:n, COLUMNS.index("people")], columns[:n, COLUMNS.index("on_sale")] = np.log1p(people), np.log1p(days)
    none, score = np.full((n + 1, 1), n, np.int32), np.zeros((n + 1, 1), np.float32)
    numbers = np.arange(1, n + 1, dtype=np.uint32)
    return Universe(numbers, columns, score[:, 0], none, score, none, score, np.arange(n, dtype=np.int32))


def columns_of(categories: list[int], days_ago: list[float]) -> ItemColumns:
    numbers = np.arange(1, len(categories) + 1, dtype=np.uint32)
    added = np.array([NOW - days * DAY for days in days_ago]).astype(np.uint32)
    return ItemColumns(numbers, (np.array(categories, np.uint32),), added)


def test_items_that_hardly_anybody_bought_are_explored_and_the_more_promising_more_often() -> None:
    sold = [40.0] * 10 + [2.0] * 10 + [1.0, 0.0]
    categories = [1] * 10 + [2] * 10 + [1, 1] + [1, 2, 1]
    days = [300.0] * len(sold)
    days_ago = [300.0] * len(sold) + [5.0, 5.0, 200.0]  # three items that the model does not know
    found = explorable(universe_of(sold, days), columns_of(categories, days_ago), NOW)
    assert set(found.numbers.tolist()) == {number for number, people in enumerate(sold, 1) if people < FEW} | {
        23,
        24,
        25,
    }
    mean = dict(zip(found.numbers.tolist(), found.draws.mean(axis=0).tolist(), strict=True))
    assert mean[23] > 2 * mean[24], "its category sells better"
    assert mean[23] > 2 * mean[25], "nobody bought the other in a long time"
    assert mean[21] > 1.3 * mean[22], "somebody bought it"
    spread = dict(zip(found.numbers.tolist(), found.draws.std(axis=0).tolist(), strict=True))
    assert spread[23] > 3 * spread[25], "little is known of it"
    again = explorable(universe_of(sold, days), columns_of(categories, days_ago), NOW)
    np.testing.assert_array_equal(again.draws, found.draws)


def test_a_list_chooses_from_a_bounded_number_of_the_most_promising() -> None:
    count = MOST + 50
    found = explorable(None, columns_of([1] * count, [400.0] * 10 + [100.0] * (count - 60) + [1.0] * 50), NOW)
    assert found.draws.shape == (DRAWS, MOST)
    assert set(range(count - 49, count + 1)) <= set(found.numbers.tolist())
    picks = {found.picks(np.ones(MOST, np.bool_), 1, draw)[0].number for draw in range(DRAWS)}
    assert picks <= set(found.numbers[:AT_ONCE].tolist())
    assert explorable(None, columns_of([], []), NOW).picks(np.ones(0, np.bool_), 3, 0) == []


def test_an_item_keeps_its_draws_for_the_day_whatever_other_items_come_and_go() -> None:
    items = columns_of([1] * 20, [5.0] * 20)
    whole = explorable(None, items, NOW)
    other = items._replace(available=np.arange(20) % 3 > 0)
    some = explorable(None, other, NOW)
    assert set(some.numbers.tolist()) == set(items.numbers[np.arange(20) % 3 > 0].tolist())
    places = [whole.numbers.tolist().index(number) for number in some.numbers.tolist()]
    np.testing.assert_array_equal(some.draws, whole.draws[:, places])
    assert (explorable(None, items, NOW + int(DAY)).draws != whole.draws).all(), "another day has other draws"
