"""LightGBM lambdarank on the ranker's own training lists and candidates, compared with the ranker person by person."""

import numpy as np

from benchmarks.figures import Figure
from ml.affinity.ranking import Ranker
from ml.log import Log

ROUNDS, LEAVES, RATE = 300, 31, 0.05  # not tuned
SETTINGS = {"objective": "lambdarank", "num_leaves": LEAVES, "learning_rate": RATE, "min_data_in_leaf": 50}


def boosted_figures(log: Log, cut: int, seed: int, trained: Ranker) -> dict[str, Figure]:
    """NDCG@10 of trees on the lists of the seed's training, and that of the trained ranker above it.

    Both see the same features of the same lists, and rank the same candidates as of the same visits.
    """
    from ml.affinity.config import TrainingConfig
    from ml.affinity.looking_back import CutLog, look_back, training_spans, with_validation
    from ml.affinity.methods import ranker_method
    from ml.affinity.training_lists import features_of
    from ml.baselines.boosted import require_package
    from ml.baskets import first_baskets
    from ml.log import state_of
    from ml.metrics import interval, ndcg
    from ml.ranked import best_first

    config, lightgbm = TrainingConfig(seed=seed), require_package("lightgbm")
    universe, ours = trained.universe, ranker_method(trained)
    log = log.of_items(universe.numbers)
    past = log.between(None, cut)
    spans = training_spans(past, cut, config)
    lists, validation = look_back(past, universe.numbers, spans, config, _silent, clockless=False)
    cut_log = CutLog(log, past, universe.numbers, cut, spans, validation, config, clockless=False)
    lists = with_validation(lists, cut_log)
    real = lists.labels >= 0
    rows = lightgbm.Dataset(lists.features[real].astype(np.float32), lists.labels[real], group=real.sum(1))
    trees = lightgbm.train({**SETTINGS, "seed": seed, "num_threads": 2, "verbosity": -1}, rows, ROUNDS)
    baskets = first_baskets(log, cut)
    known = np.isin(baskets.people, np.unique(past.person))
    values = []
    for index in np.flatnonzero(known).tolist():
        basket, visit = baskets[index], int(baskets.visits[index])
        history = log.history(int(baskets.people[index]), visit)
        found = features_of(universe, state_of(history, visit), visit)
        assert found is not None  # with an earlier order there are candidates
        top = found.numbers[best_first(trees.predict(found.features), found.numbers)[:10]]
        hits = [np.isin(each, basket) for each in (ours(history, visit)[:10], top)]
        values.append([ndcg(each, len(basket)) for each in hits])
    ranker, boosted = np.array(values).T
    ahead = ranker - boosted
    said = f"{ROUNDS} rounds of {LEAVES} leaves at a rate of {RATE}, not tuned"
    return {
        "ndcg_at_10_lightgbm": Figure(float(boosted.mean()), "", *interval(boosted, seed), said),
        "ahead_of_lightgbm": Figure(
            float(ahead.mean()), "NDCG@10", *interval(ahead, seed), "paired by person; lower bound at least -.01"
        ),
    }


def _silent(stage: str, done: int, of: int) -> None:
    """No progress."""
