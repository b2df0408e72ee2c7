"""Recency, frequency, monetary value."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.rfm import SEGMENTS, Rfm, quintiles, rfm, score, segment
from ml.state import State, Table, fold

MakeEvents = Callable[..., Table]


def test_the_numbers_count_orders_not_lines(make_events: MakeEvents, now: int) -> None:
    events = np.concatenate([make_events(1, 2, 3, at=now - 86_400, apart=0), make_events(1, at=now - 3 * 86_400)])
    assert rfm(fold(State.empty(), events), now) == Rfm(recency=1.0, frequency=2, monetary=400)


def test_a_person_who_never_bought_has_no_numbers(now: int) -> None:
    assert rfm(State.empty(), now) is None


def test_a_person_in_the_best_fifth_of_all_three_is_a_champion() -> None:
    edges = quintiles(np.array([[day, 100 - day, 1000 - day] for day in range(100)], np.float64))
    assert score(Rfm(0.0, 100, 1000), edges).segment == "CHAMPION"
    assert score(Rfm(99.0, 1, 1), edges).segment == "HIBERNATING"
    assert score(Rfm(99.0, 100, 1), edges).segment == "CANNOT_LOSE"


@pytest.mark.parametrize("recency", range(1, 6))
@pytest.mark.parametrize("frequency", range(1, 6))
def test_every_combination_of_scores_has_a_segment(recency: int, frequency: int) -> None:
    assert segment(recency, frequency, 1) in SEGMENTS


def test_scores_stay_between_one_and_five() -> None:
    for value in (Rfm(0, 1, -500), Rfm(10_000, 10**6, 10**12)):
        found = score(value)
        assert {found.recency, found.frequency, found.monetary} <= set(range(1, 6))
