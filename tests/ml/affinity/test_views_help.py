"""Where people look at what they then order, views make lists better; the interval of the difference is above zero."""

import pytest

from benchmarks.browsing_shop import BrowsingShop, make_browsing_shop
from benchmarks.quality_visits import compare
from ml.affinity.config import TrainingConfig

TINY = TrainingConfig(
    cuts=2, lists_limit=250, list_length=64, models=1, epochs=3, stops=(1.0,), hidden=(16,), histories=40
)


@pytest.mark.timeout(900)  # two trainings
def test_lists_are_better_with_the_views_of_the_visit() -> None:
    shop = BrowsingShop(people=80, items=120, categories=12, days=120, visits=10)
    found = compare(make_browsing_shop(shop), TINY)
    assert found["difference"].low > 0
    assert found["ndcg_at_10"].value > 1.5 * found["ndcg_at_10_without"].value
