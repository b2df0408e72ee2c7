"""Histories and the windows that are cut from them."""

from collections.abc import Callable

import numpy as np

from ml.log import Log
from ml.sequence.histories import Histories, Windows
from ml.sequence.lessons import lesson_of, may_help, rebuy_share
from ml.sequence.rule_counting import line_rules

MakeLog = Callable[..., Log]


def histories(*each: list[int]) -> Histories:
    lines = np.array([row for rows in each for row in rows], np.int32)
    return Histories(lines, np.append(0, np.cumsum([len(rows) for rows in each])))


def test_every_line_but_the_first_is_foretold_once_from_the_line_before_it() -> None:
    known = histories(list(range(23)), [], [30], [40, 41], list(range(50, 61)))
    for seed in range(20):
        cut = Windows.cut(known, 5, np.random.default_rng(seed))
        real = cut.targets >= 0
        assert sorted(cut.targets[real].tolist()) == [*range(1, 23), 41, *range(51, 61)]
        assert (cut.items[real] + 1 == cut.targets[real]).all()
        assert (real[:, :-1] >= real[:, 1:]).all(), "padding is on the right"
        inside = real[:, 1:]
        assert (np.diff(cut.items, axis=1)[inside] == 1).all(), "a window is a piece of one history"


def test_each_epoch_is_cut_elsewhere() -> None:
    known, random = histories(list(range(40))), np.random.default_rng(0)
    starts = {tuple(Windows.cut(known, 10, random).items[:, 0].tolist()) for _ in range(20)}
    assert len(starts) > 3


def test_nobody_has_two_lines() -> None:
    cut = Windows.cut(histories([1], [2]), 5, np.random.default_rng(0))
    assert len(cut) == 0


def test_a_nearer_line_makes_a_stronger_rule() -> None:
    rules = line_rules(histories([0, 1, 2], [0, 1, 2], [3, 0]), 4)
    assert rules.rows[0, :2].tolist() == [1, 2]
    assert rules.scores[0, 0] > rules.scores[0, 1] > 0
    sums = rules.sums(np.array([3, 0], np.int32))
    assert sums.argmax() == 1, "the newest item speaks loudest"


def test_a_log_in_which_people_buy_the_same_again_needs_no_net(make_log: MakeLog, make_sequences: MakeLog) -> None:
    assert rebuy_share(make_log()) > 0.3
    assert rebuy_share(make_sequences()) == 0
    assert may_help(make_sequences(people=700))
    assert not may_help(make_sequences(people=40)), "too few people"
    assert not may_help(make_log(people=600))


def test_a_lesson_learns_nothing_of_what_it_is_chosen_on(make_sequences: MakeLog) -> None:
    log = make_sequences()
    last = int(log.occurred.max())
    lesson = lesson_of(log.between(None, last), log, log.numbers, last, last + 60, seed=1)
    assert len(lesson.histories.rows) == len(log) - len(log.people)
    assert len(lesson.known) == len(log.people)
    assert {len(wanted) for wanted in lesson.wanted} == {1}
    assert sum(map(len, lesson.known)) == len(log) - len(log.people)
