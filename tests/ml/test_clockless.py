"""Logs without a clock are found, and cut by lines instead of days."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ml.clockless import STEP, is_clockless
from ml.log import Log
from ml.snapshot import best_supported, snapshot
from ml.splits import holdout_cut, spans_before

MakeLog = Callable[..., Log]


def test_one_line_a_minute_is_no_clock(make_sequences: MakeLog, make_log: MakeLog) -> None:
    log = make_sequences()
    assert is_clockless(log)
    assert is_clockless(log.between(None, int(log.occurred.max())))
    assert not is_clockless(make_log())
    assert not is_clockless(log.between(0, 1))


def test_a_few_events_that_came_later_change_nothing(make_sequences: MakeLog) -> None:
    log = make_sequences()
    late = np.zeros(len(log), np.int64)
    late[np.flatnonzero(np.diff(log.person))[:3]] = 3_600
    assert is_clockless(replace(log, occurred=log.occurred + late))
    assert not is_clockless(replace(log, occurred=log.occurred * 2))


def test_the_last_line_of_everybody_is_foretold_and_each_window_is_the_line_before(make_sequences: MakeLog) -> None:
    log = make_sequences()
    cut = holdout_cut(log, 28)
    tested = log.between(cut, None)
    assert np.bincount(tested.person, minlength=len(log.people)).tolist() == [1] * len(log.people)
    past = log.between(None, cut)
    spans = spans_before(past, cut, count=3, every=14, horizon=14, clockless=True)
    windows = (*spans.validation, *spans.training)
    assert len(windows) == 4
    assert [end - start for start, end in windows] == [STEP] * 4
    assert [end for _, end in windows] == [cut, cut - STEP, cut - 2 * STEP, cut - 3 * STEP]
    much_later = spans_before(past, cut + 86_400, count=3, every=14, horizon=14, clockless=True)
    assert much_later == spans
    many = spans_before(past, cut, count=50, every=14, horizon=14, clockless=True)
    assert min(start for start, _ in many.training) > int(past.occurred.min()), "something is known before each window"


def test_items_rest_only_where_nobody_buys_them_again(make_sequences: MakeLog) -> None:
    log = make_sequences()
    numbers, end = best_supported(log, 60), int(log.occurred.max()) + 1
    assert (snapshot(log, numbers, end, clockless=True).rest > 1e6).all()
    again = replace(log, item=(log.item % 4 + 1).astype(np.uint32))
    assert (snapshot(again, numbers[:4], end, clockless=True).rest == 0).all()
