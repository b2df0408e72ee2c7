"""What views are worth: the ranker trained with the views of a synthetic shop and without them, on the same people.

In the shop, what people look at in a visit foretells what they order at its end. The difference of NDCG@10 is paired by
person. A second pair is a shop whose views foretell nothing: there the difference must not be below zero.
"""

from dataclasses import replace

import numpy as np

from benchmarks.browsing_shop import BrowsingShop, make_browsing_shop, without_views
from benchmarks.figures import Figure
from ml.affinity.config import TrainingConfig
from ml.affinity.methods import ranker_method
from ml.affinity.ranking import Ranker
from ml.evaluation import NDCG, Contest, Score, measure, score
from ml.log import Log
from ml.splits import Window, holdout_cut
from ml.state import PURCHASE, Table

MINUTES = 6.0
SMALL = TrainingConfig(cuts=4, lists_limit=1_500, models=1, epochs=4, holdout=28)
IDLE = BrowsingShop(viewed=0.0, alike=0.0)  # whoever looks at what buys favourites


def run(seed: int) -> dict[str, Figure]:
    """NDCG@10 with and without views, and the differences."""
    figures: dict[str, Figure] = {}
    for name, shop in (("", BrowsingShop(seed=seed)), ("idle_", replace(IDLE, seed=seed))):
        found = compare(make_browsing_shop(shop), SMALL)
        for key, value in found.items():
            figures[f"{name}{key}"] = Figure(value.value, "NDCG@10", low=value.low, high=value.high)
    return figures


def compare(log: Log, config: TrainingConfig) -> dict[str, Score]:
    """NDCG@10 of a ranker trained with the views of a log, of one trained without, and their difference by person."""
    from ml.affinity.training import train

    cut = holdout_cut(log, config.holdout)
    seeing = train(log, cut, _silent, config)
    blind = train(without_views(log), cut, _silent, config)
    blind_method = ranker_method(Ranker(blind.universe, blind.network))

    def without(history: Table, as_of: int) -> np.ndarray:
        return blind_method(history[history["type"] == PURCHASE], as_of)

    methods = {"with": ranker_method(Ranker(seeing.universe, seeing.network)), "without": without}
    window = Window(cut, int(log.occurred.max()) + 1)
    contest = Contest(window, seeing.universe.numbers, methods)
    lists = measure(log, cut, [contest], seed=0, report=lambda done, of: None).lists
    values = {name: judged.values(NDCG) for name, judged in lists.items()}
    return {
        "ndcg_at_10": score(values["with"], 0),
        "ndcg_at_10_without": score(values["without"], 0),
        "difference": score(values["with"] - values["without"], 0),
    }


def _silent(stage: str, done: int, of: int) -> None:
    """Say nothing."""
