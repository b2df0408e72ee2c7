"""Where a log is cut: the test span reaches as far back as it takes until enough people came back in it."""

import numpy as np
import pytest

from ml.affinity.config import TrainingConfig
from ml.log import Log
from ml.splits import DAY, ENOUGH, WEEK, Cuts, holdout_cut, spans_before

END = 1_700_000_000
DAYS = 1_400


def log_of(orders: list[tuple[int, float]]) -> Log:
    """A log of one item from (person, days before END)."""
    person, days = np.array(orders, np.float64).T
    return Log.of(
        people=[f"user:{number}" for number in range(int(person.max()) + 1)],
        person=person.astype(np.int32),
        item=np.ones(len(person), np.uint32),
        occurred=(END - days * DAY).astype(np.int64),
        cents=np.ones(len(person), np.int64),
        order=np.arange(len(person)),
        numbers=np.ones(1, np.uint32),
        item_ids=["milk"],
    )


def came_back(log: Log, cut: int) -> int:
    return len(np.intersect1d(log.between(None, cut).person, log.between(cut, None).person))


def rare_visits(people: int, seed: int = 0) -> Log:
    """Each person orders for half a year, sometime in four years."""
    random = np.random.default_rng(seed)
    visits = [
        (person, float(start - day))
        for person, start in enumerate(random.uniform(180, DAYS, people))
        for day in random.uniform(0, 180, 4)
    ]
    return log_of([(0, DAYS), (0, 0), *visits])


def test_where_many_come_back_the_last_weeks_are_kept() -> None:
    log = log_of([(person, day) for person in range(ENOUGH) for day in (0, 300)])
    assert holdout_cut(log, 28) == END + 1 - 28 * DAY


def test_a_sparse_log_keeps_more_until_enough_people_came_back() -> None:
    log = rare_visits(3_000)
    cut, shortest = holdout_cut(log, 28), END + 1 - 28 * DAY
    assert came_back(log, cut) >= ENOUGH > came_back(log, cut + WEEK)
    assert (shortest - cut) % WEEK == 0 and cut < shortest


def test_a_test_span_has_at_most_a_fifth_of_the_log() -> None:
    log = rare_visits(300)
    cut = holdout_cut(log, 28)
    assert END - DAYS * DAY // 5 <= cut < END - DAYS * DAY // 10
    assert came_back(log, cut) < ENOUGH


def test_a_longer_span_that_adds_hardly_anybody_is_not_taken() -> None:
    log = log_of([(0, 400), *((person, day) for person in range(100) for day in range(0, 365, 14))])
    assert holdout_cut(log, 28) == END + 1 - 28 * DAY, "all of them come in any four weeks"


def test_a_short_log_keeps_its_last_fifth() -> None:
    log = log_of([(person, day) for person in range(20) for day in (0, 50, 100)])
    assert holdout_cut(log, 28) == END + 1 - 20 * DAY


@pytest.mark.parametrize("seed", range(5))
def test_people_are_counted_by_week_as_they_are_by_cut(seed: int) -> None:
    log = rare_visits(200, seed)
    cuts = Cuts.between(END - DAYS * DAY, END, 28)
    begins = np.searchsorted(log.person, np.arange(201))
    came, lapsed = log.occurred[begins[:-1]], log.occurred[begins[1:] - 1]
    counted = [np.cumsum(np.bincount(cuts.weeks_to(each), minlength=cuts.weeks + 2)) for each in (came, lapsed)]
    back = (counted[1] - counted[0])[: cuts.weeks + 1]
    assert back.tolist() == [came_back(log, cuts.first - week * WEEK) for week in range(cuts.weeks + 1)]


def test_windows_are_as_much_longer_as_the_test_span_and_follow_each_other() -> None:
    config = TrainingConfig().for_span(84 * DAY)
    assert (config.cut_every, config.horizon) == (42, 42)
    assert TrainingConfig().for_span(20 * DAY) == TrainingConfig()
    log = rare_visits(300)
    spans = spans_before(log, END - 84 * DAY, count=6, every=config.cut_every, horizon=config.horizon)
    assert spans.validation[0].end == END - 84 * DAY
    assert spans.training[0].end == spans.validation_start == END - 168 * DAY
