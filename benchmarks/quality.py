"""What the quality benchmarks share: a training on a log with a fixed cut, and its figures."""

import resource
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.figures import Figure
from ml.affinity.ranking import Ranker
from ml.evaluation import Score
from ml.log import Log

METRICS = ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "mrr", "coverage_at_10")


def trained_figures(
    log: Log,
    cut: int,
    seeds: Sequence[int],
    seconds_idle: int,
    compare: Callable[[Ranker], dict[str, Figure]] = lambda trained: {},
) -> dict[str, Figure]:
    """Train on the orders before the cut (seconds), then foretell each person's first order after it.

    All tables are as of the cut, as in the published figures: `penchant train` rebuilds them within the test span.
    Figures are means over the seeds, the ends of their intervals too; time is that of one training. `compare` adds
    figures of the model of the first seed.
    """
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train

    began, busy = time.monotonic(), cpu_seconds()
    of_seeds = [
        train(log, cut, lambda stage, done, of: None, TrainingConfig(seed=seed, test_windows=1)) for seed in seeds
    ]
    seconds, cpu = ((now - then) / len(seeds) for now, then in ((time.monotonic(), began), (cpu_seconds(), busy)))
    evaluation, parity = of_seeds[0].evaluation, max(trained.parity for trained in of_seeds)
    candidate, methods = evaluation.candidate, evaluation.methods
    figures = {
        metric: _mean([trained.evaluation.methods[candidate][metric] for trained in of_seeds], "", others)
        for metric in METRICS
        for others in [
            ", ".join(
                f"{name.replace('_', ' ')} {methods[name][metric].value:.4f}" for name in methods if name != candidate
            )
        ]
    }
    of_ndcg = [trained.evaluation.methods[candidate]["ndcg_at_10"].value for trained in of_seeds]
    figures["ndcg_spread"] = Figure(max(of_ndcg) - min(of_ndcg), "", reference=f"of {len(seeds)} seeds")
    ahead = [trained.evaluation.ahead["personal_frequency"] for trained in of_seeds]
    figures |= {
        "ahead_of_frequency": _mean(ahead, "NDCG@10", "paired by person; above 0"),
        "people": Figure(evaluation.people, "", reference="with an earlier order and one after the cut"),
        "train_s": Figure(
            seconds, "s", reference=f"evaluation and export proof included; at most {seconds_idle} on 2 idle cores"
        ),
        "train_cpu_s": Figure(cpu, "s"),
        "rss_mb": Figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", reference="at most 3072"),
        "parity": Figure(parity, "probability", reference="export against Keras, 300 histories; at most 1e-4"),
    }
    return figures | compare(of_seeds[0])


def _mean(scores: Sequence[Score], unit: str, reference: str) -> Figure:
    value, low, high = np.mean([(score.value, score.low, score.high) for score in scores], axis=0).tolist()
    return Figure(value, unit, low, high, reference)


def cpu_seconds() -> float:
    """The CPU seconds of this process so far, of all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
