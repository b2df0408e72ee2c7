"""What completes an item is counted over orders, with support and lift."""

import numpy as np
import pytest

from ml import complements as module
from ml.complements import LARGEST, complements
from ml.log import Log
from ml.universe import PEOPLE_TOGETHER

Lines = list[tuple[int, int, int]]


def log_of(lines: Lines) -> Log:
    """Lines of (person, item, order), items from 1."""
    person, item, order = (np.array(column) for column in zip(*lines, strict=True))
    return Log.of(
        people=[f"user:{number}" for number in range(person.max() + 1)],
        person=person.astype(np.int32),
        item=item.astype(np.uint32),
        occurred=order.astype(np.int64),
        cents=np.full(len(lines), 100, np.int64),
        order=order.astype(np.int64),
        numbers=np.arange(1, item.max() + 1, dtype=np.uint32),
        item_ids=[str(number) for number in range(1, item.max() + 1)],
    )


def completing(lines: Lines, item: int, most: int = 5) -> dict[int, float]:
    """What completes an item, best first, with its score."""
    log = log_of(lines)
    rows, scores = complements(log, (log.item - 1).astype(np.int32), len(log.numbers), most)
    assert rows.shape == scores.shape == (len(log.numbers) + 1, most)
    assert (rows[-1] == len(log.numbers)).all()
    found = zip(rows[item - 1].tolist(), scores[item - 1].tolist(), strict=True)
    return {row + 1: score for row, score in found if score > 0}


def orders(*baskets: tuple[int, ...], first: int = 0) -> Lines:
    """An order of each basket, each of a person of their own."""
    return [(first + at, item, first + at) for at, basket in enumerate(baskets) for item in basket]


def test_items_of_the_same_orders_complete_each_other_in_the_order_of_their_share() -> None:
    lines = orders(*[(1, 2)] * 4, *[(1, 3)] * 8, *[(4, 5)] * 30)
    found = completing(lines, 1)
    assert list(found) == [3, 2]
    confidence, orders_with = 8 / (12 + 5), 8 + 5  # damped by five orders
    assert found[3] == pytest.approx(confidence / orders_with**0.25)
    assert list(completing(lines, 2)) == [1]
    assert completing(lines, 4) == {5: pytest.approx(30 / 35 / 35**0.25)}


def test_items_of_one_person_in_different_orders_do_not_complete_each_other() -> None:
    lines = [(person, item, 10 * person + item) for person in range(20) for item in (1, 2)]
    lines += [(person, item, 10 * person + 5) for person in range(20) for item in (3, 4)]
    assert completing(lines, 1) == {}
    assert list(completing(lines, 3)) == [4]


def test_a_pair_needs_three_people_however_often_they_buy_it() -> None:
    others = orders(*[(3, 4)] * 20, first=100)
    twice = [(person, item, 50 * person + again) for person in (0, 1) for again in range(20) for item in (1, 2)]
    assert completing([*twice, *others], 1) == {}
    assert list(completing([*twice, (2, 1, 900), (2, 2, 900), *others], 1)) == [2]


def test_what_is_in_every_order_completes_nothing() -> None:
    bag, lines = 9, orders(*[(1, 2, 9)] * 10, *[(3, 4, 9)] * 10)
    assert completing(lines, bag) == {}
    assert list(completing(lines, 1)) == [2]


def test_an_item_that_is_in_many_orders_gets_less() -> None:
    lines = orders(*[(1, 2, 3)] * 10, *[(3, 4)] * 20, *[(5, 6)] * 100)
    assert list(completing(lines, 1)) == [2, 3]


def test_a_line_that_is_twice_in_an_order_counts_once() -> None:
    lines = orders(*[(1, 2)] * 4, *[(3, 4)] * 10)
    assert completing([*lines, *[(at, 2, at) for at in range(4)]], 1) == completing(lines, 1)


def test_very_large_orders_do_not_count() -> None:
    everything = tuple(range(1, LARGEST + 2))
    few = orders(*[(1, 2)] * 30, *[(3, 4)] * 20)
    assert completing([*few, *orders(*[everything] * 5, first=500)], 3) == completing([*few, (500, 101, 500)], 3)


def test_the_blocks_agree_with_a_count_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    baskets = [tuple(set(random.zipf(1.4, 4) % 12 + 1)) for _ in range(400)]
    lines = [(at % 60, int(item), at) for at, basket in enumerate(baskets) for item in basket]
    kept = [set(basket) for basket in baskets]
    monkeypatch.setattr("ml.nearest.BLOCK", 5)
    for item in range(1, 13):
        expected = {}
        times = {other: sum(other in basket for basket in kept) for other in range(1, 13)}
        for other in set(range(1, 13)) - {item}:
            people = {at % 60 for at, basket in enumerate(baskets) if {item, other} <= set(basket)}
            both = sum({item, other} <= basket for basket in kept)
            lift = both * len(kept) / max(times[item] * times[other], 1)
            if len(people) >= PEOPLE_TOGETHER and lift >= module.LEAST_LIFT:
                expected[other] = both / (times[item] + 5) / (times[other] + 5) ** 0.25
        found = completing(lines, item, 12)
        assert found == pytest.approx(expected)
        assert list(found.values()) == sorted(found.values(), reverse=True)
