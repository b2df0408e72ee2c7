"""TIFU-kNN: values computed by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.baselines.tifu_knn import ACROSS, NEAREST, OWN, WITHIN, fading_frequencies, tifu_knn
from ml.log import Log
from ml.snapshot import snapshot

CUT = 1_700_000_000
LogOf = Callable[..., Log]


def test_each_order_is_a_group_when_there_are_few() -> None:
    rows, value = fading_frequencies(
        np.array([3, 1, 3], np.int32), np.array([8, 8, 9], np.int64), np.array([10, 10, 20], np.int64)
    )
    assert rows.tolist() == [1, 3]
    assert value.tolist() == pytest.approx([ACROSS / 2, (1 + ACROSS) / 2])


def test_more_orders_than_groups_fade_within_their_group() -> None:
    """Eight orders of one item: groups of two, of which the newest order counts 1, the one before it WITHIN."""
    times = np.arange(8, dtype=np.int64)
    _, value = fading_frequencies(np.full(8, 5, np.int32), times, times)
    group = (1 + WITHIN) / 2
    assert value.tolist() == pytest.approx([group * (1 + ACROSS + ACROSS**2 + ACROSS**3) / 4])


def test_an_order_is_as_old_as_its_first_line_and_counts_an_item_once() -> None:
    rows, value = fading_frequencies(
        np.array([1, 1, 2], np.int32), np.array([5, 5, 4], np.int64), np.array([10, 30, 20], np.int64)
    )
    assert dict(zip(rows.tolist(), value.tolist(), strict=True)) == pytest.approx({1: ACROSS / 2, 2: 0.5})


def test_own_frequencies_are_mixed_with_those_of_the_nearest_people(
    log_of: LogOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.baselines.tifu_knn.NEAREST", 2)
    log = log_of(("a", 1, 9, 1), ("b", 1, 9, 1), ("b", 3, 9, 1), ("c", 4, 2, 1), ("d", 2, 2, 1), ("e", 2, 2, 1))
    method = tifu_knn(log, snapshot(log, log.numbers, CUT))
    # nearest to a: a itself and b; item 1 scores OWN + .3 * (1 + 1) / 2, item 3 .3 * 1 / 2, then popular ones
    assert method(log.history(0, CUT), CUT).tolist() == [1, 3, 2, 4]
    assert 0 < OWN < 1 < NEAREST


def test_of_a_log_in_which_nothing_was_kept_popular_items_are_left(log_of: LogOf) -> None:
    log = log_of(("a", 1, 9, 1), ("b", 2, 9, 1))
    universe = snapshot(log, log.numbers, CUT)
    nothing = log.where(np.zeros(len(log), np.bool_))
    assert sorted(tifu_knn(nothing, universe)(log.history(0, CUT), CUT).tolist()) == [1, 2, 3, 4]
