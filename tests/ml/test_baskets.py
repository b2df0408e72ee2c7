"""Orders to be foretold: each as of its own moment."""

import numpy as np
import pytest

from ml.baskets import all_baskets, first_baskets
from ml.log import Log, Signals
from ml.state import EVENT, RETURN

DAY = 86_400


def log_of(*lines: tuple[int, int, int, int], signals: Signals | None = None) -> Log:
    """A log of lines (person, item, occurred, order)."""
    person, item, occurred, order = np.array(lines, np.int64).T
    return Log.of(
        people=["user:a", "user:b"],
        person=person.astype(np.int32),
        item=item.astype(np.uint32),
        occurred=occurred,
        cents=np.full(len(lines), 100),
        order=order,
        numbers=np.arange(1, 10, dtype=np.uint32),
        item_ids=[f"item {number}" for number in range(1, 10)],
        signals=signals,
    )


LINES = [(0, 1, 100, 7), (0, 2, 160, 7), (0, 3, 130, 2), (0, 1, 300, 1), (1, 4, 250, 9), (1, 4, 250, 9), (1, 5, 50, 8)]


def test_every_order_is_foretold_as_of_its_first_line() -> None:
    baskets = all_baskets(log_of(*LINES), 100)
    assert baskets.people.tolist() == [0, 0, 0, 1]
    assert baskets.visits.tolist() == [100, 130, 300, 250]
    assert [baskets[index].tolist() for index in range(len(baskets))] == [[1, 2], [3], [1], [4]]


def test_the_first_baskets_are_one_of_each_person() -> None:
    baskets = first_baskets(log_of(*LINES), 120)
    assert baskets.people.tolist() == [0, 1]
    assert baskets.visits.tolist() == [130, 250]
    assert [baskets[0].tolist(), baskets[1].tolist()] == [[3], [4]]
    assert baskets.of(np.array([1], np.int32))[0].tolist() == [4]


@pytest.mark.parametrize(("start", "end"), [(400, None), (0, 50)])
def test_a_span_without_orders_has_no_baskets(start: int, end: int | None) -> None:
    assert len(all_baskets(log_of(*LINES), start, end)) == len(first_baskets(log_of(*LINES), start, end)) == 0


def test_an_order_that_was_returned_is_not_foretold() -> None:
    returned = np.zeros(1, EVENT)
    returned["type"], returned["item"], returned["occurred"], returned["order"] = RETURN, 3, 200, 3
    returned["quantity"] = 1
    log = log_of(*LINES, signals=Signals(np.zeros(1, np.int32), returned))
    assert all_baskets(log, 100).visits.tolist() == [100, 300, 250]
