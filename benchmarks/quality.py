"""What the quality benchmarks share: a training on a log with a fixed cut, and its figures."""

import resource
import time

from benchmarks.figures import Figure
from ml.log import Log

METRICS = ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "mrr", "coverage_at_10")


def trained_figures(log: Log, cut: int, seed: int, seconds_idle: int) -> dict[str, Figure]:
    """Train on the orders before the cut (seconds), then foretell each person's first order after it.

    All tables are as of the cut, as in the published figures: `penchant train` rebuilds them within the test span.
    """
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train

    began, busy = time.monotonic(), cpu_seconds()
    trained = train(log, cut, lambda stage, done, of: None, TrainingConfig(seed=seed, test_windows=1))
    seconds, cpu = time.monotonic() - began, cpu_seconds() - busy
    evaluation = trained.evaluation
    candidate, methods = evaluation.candidate, evaluation.methods
    figures = {
        metric: Figure(
            methods[candidate][metric].value,
            "",
            methods[candidate][metric].low,
            methods[candidate][metric].high,
            ", ".join(
                f"{name.replace('_', ' ')} {methods[name][metric].value:.4f}" for name in methods if name != candidate
            ),
        )
        for metric in METRICS
    }
    ahead = evaluation.ahead["personal_frequency"]
    return figures | {
        "ahead_of_frequency": Figure(ahead.value, "NDCG@10", ahead.low, ahead.high, "paired by person; above 0"),
        "people": Figure(evaluation.people, "", reference="with an earlier order and one after the cut"),
        "train_s": Figure(
            seconds, "s", reference=f"evaluation and export proof included; {seconds_idle} on 2 idle cores"
        ),
        "train_cpu_s": Figure(cpu, "s"),
        "rss_mb": Figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", reference="at most 3072"),
        "parity": Figure(trained.parity, "probability", reference="export against Keras, 300 histories; at most 1e-4"),
    }


def cpu_seconds() -> float:
    """The CPU seconds of this process so far, of all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
