"""The ranker is at least as good as the best simple method of a shop, whether its people buy the same again or not."""

import pytest

from ml.affinity.training import TrainingConfig, train
from tests.shops import DAY, NOW, Shop, make_shop

CUT = NOW - 60 * DAY
COLLABORATIVE = ("item_knn", "ease")
FREQUENCY = ("personal_frequency", "decayed_frequency")


@pytest.mark.parametrize(
    ("repeat", "baselines"),
    [(0.0, COLLABORATIVE), (0.3, COLLABORATIVE), (0.6, (*COLLABORATIVE, *FREQUENCY)), (0.9, FREQUENCY)],
    ids=["made for collaborative filtering", "some repeats", "a mixture", "buying the same again"],
)
def test_the_ranker_is_as_good_as_the_best_method_of_the_shop(repeat: float, baselines: tuple[str, ...]) -> None:
    log = make_shop(Shop(people=700, items=240, repeat=repeat))
    evaluation = train(log, CUT, lambda *_: None, TrainingConfig(models=1, histories=50)).evaluation
    assert evaluation.people > 250
    print(repeat, {n: round(v["ndcg_at_10"].value, 4) for n, v in evaluation.methods.items()})
    for name in baselines:
        print(name, evaluation.ahead[name])
        assert evaluation.ahead[name].high > 0
