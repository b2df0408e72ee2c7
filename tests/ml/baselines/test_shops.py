"""Which baseline is best depends on the shop: the gate needs all of them."""

import numpy as np
import pytest

from ml.baselines.methods import BASELINES, METHODS, baseline_methods
from ml.evaluation import Contest, Evaluation, evaluate
from ml.gate import verdict
from ml.log import Log, gaps
from ml.snapshot import snapshot
from ml.splits import Window
from tests.shops import DAY, NOW, Shop, make_shop

CUT = NOW - 60 * DAY


def evaluated(log: Log, candidate: str) -> Evaluation:
    past = log.between(None, CUT)
    methods = baseline_methods(past, snapshot(past, log.numbers, CUT), METHODS)
    others = [name for name in BASELINES if name != candidate]
    contests = [Contest(Window(CUT, NOW + DAY), log.numbers, methods)]
    return evaluate(log, CUT, contests, candidate=candidate, baselines=others, seed=1, report=lambda *_: None)


@pytest.mark.parametrize(
    ("repeat", "best"),
    [
        (0.0, {"item_knn", "ease", "sequential_rules"}),
        (0.4, {"item_knn", "ease"}),
        (0.9, {"personal_frequency", "decayed_frequency"}),
    ],
    ids=["made for collaborative filtering", "a mixture", "buying the same again"],
)
def test_the_best_baseline_is_that_of_the_shop(repeat: float, best: set[str]) -> None:
    evaluation = evaluated(make_shop(Shop(people=400, items=240, repeat=repeat)), "popularity")
    assert evaluation.people > 150
    assert evaluation.best_baseline in best


def test_where_others_purchases_foretell_best_a_model_of_frequencies_is_refused() -> None:
    judged = verdict(evaluated(make_shop(Shop(people=400)), "decayed_frequency"))
    assert not judged.promote
    assert "item knn" in judged.reason


def test_a_shop_is_the_same_for_the_same_seed_and_has_repeats_as_asked() -> None:
    one, other = make_shop(Shop(people=40)), make_shop(Shop(people=40))
    np.testing.assert_array_equal(one.item, other.item)
    assert not len(gaps(one)[0])
    assert len(gaps(make_shop(Shop(people=40, repeat=0.8)))[0]) > 50
