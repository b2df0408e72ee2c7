"""A log of four years in which hardly anybody comes back within a month is trained on and judged on enough people."""

import warnings

import numpy as np

from ml.gate import LEAST_PEOPLE, verdict
from ml.log import Log
from ml.splits import DAY

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train

BRIEF = TrainingConfig(item_limit=60, cuts=2, models=1, epochs=1, lists_limit=200, list_length=32, histories=50)


def sparse_log(people: int, items: int = 60, days: int = 1_400) -> Log:
    """Each person buys four things of one taste, no thing twice, within half a year: the shape of a log of reviews."""
    random = np.random.default_rng(0)
    lines = []
    for person, start in enumerate(random.uniform(180, days, people).tolist()):
        taste = np.arange(person % 4, items, 4)
        for item, day in zip(random.choice(taste, 4, replace=False), random.uniform(0, 180, 4), strict=True):
            lines.append((person, item + 1, 1_700_000_000 - int((start - day) * DAY)))
    person, item, occurred = np.array(lines, np.int64).T
    numbers = np.arange(1, items + 1, dtype=np.uint32)
    names = [f"item {number}" for number in numbers]
    cents, order = np.full(len(lines), 500), np.arange(len(lines))
    people_ids = [f"user:{number}" for number in range(people)]
    return Log.of(people_ids, person.astype(np.int32), item.astype(np.uint32), occurred, cents, order, numbers, names)


def test_enough_people_are_judged_and_all_spans_are_longer() -> None:
    log = sparse_log(1_200)
    last_weeks = log.between(int(log.occurred.max()) + 1 - 28 * DAY, None)
    assert len(np.unique(last_weeks.person)) < LEAST_PEOPLE, "a month is not enough"
    trained = train(log, None, lambda *_: None, BRIEF)
    assert trained.evaluation.people >= LEAST_PEOPLE
    (people,) = (check for check in verdict(trained.evaluation).checks if check.name == "people")
    assert people.passed
    span = int(log.occurred.max()) + 1 - trained.evaluation.cut
    settings, validation = trained.training["settings"], trained.training["validation"]
    assert 28 * DAY < span <= (int(log.occurred.max()) - int(log.occurred.min())) // 5
    assert settings["horizon"] == round(14 * span / (28 * DAY)), "the windows are those of the longer span"
    assert validation["until"] == trained.evaluation.cut
    assert validation["people"] >= 20
