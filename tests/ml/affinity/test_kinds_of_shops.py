"""The ranker is at least as good as the best simple method of a shop, whether its people buy the same again or not."""

import warnings

import pytest

from tests.shops import DAY, NOW, Shop, make_shop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train

CUT = NOW - 60 * DAY
BY_OTHERS, BY_FREQUENCY = {"item_knn", "ease"}, {"personal_frequency", "decayed_frequency"}
BRIEF = TrainingConfig(cuts=12, histories=50, models=1)  # of so few people, more windows


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("repeat", "best"),
    [(0.0, BY_OTHERS), (0.5, BY_OTHERS | BY_FREQUENCY), (0.9, BY_FREQUENCY)],
    ids=["made for collaborative filtering", "a mixture", "buying the same again"],
)
def test_the_ranker_is_as_good_as_the_best_method_of_the_shop(repeat: float, best: set[str]) -> None:
    """As good: the 95 % interval of the difference, paired by person, is not below zero."""
    log = make_shop(Shop(people=700, items=240, repeat=repeat))
    evaluation = train(log, CUT, lambda *_: None, BRIEF).evaluation
    assert evaluation.people > 250
    assert evaluation.best_baseline in best
    assert evaluation.ahead[evaluation.best_baseline].high > 0
