"""Next basket in the Complete Journey log, cut 2017-11-01: the ranker against popularity and personal frequency."""

import resource
import time

from benchmarks.figures import Figure

MINUTES = 4.0


def run(seed: int) -> dict[str, Figure]:
    """Train on the orders before the cut, then evaluate on each person's first order after it."""
    from benchmarks.journey_log import CUT, journey_log
    from ml.affinity.training import TrainingConfig, train

    log = journey_log()
    began, busy = time.monotonic(), _cpu_seconds()
    trained = train(log, CUT, lambda stage, done, of: None, TrainingConfig(seed=seed))
    seconds, cpu = time.monotonic() - began, _cpu_seconds() - busy
    candidate, methods = trained.evaluation.candidate, trained.evaluation.methods
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
        for metric in ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "mrr", "coverage_at_10")
    }
    ahead = trained.evaluation.ahead["personal_frequency"]
    return figures | {
        "ahead_of_frequency": Figure(ahead.value, "NDCG@10", ahead.low, ahead.high, "paired by person; above 0"),
        "train_s": Figure(seconds, "s", reference="evaluation and export proof included; 180 on 2 idle cores"),
        "train_cpu_s": Figure(cpu, "s"),
        "rss_mb": Figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", reference="at most 3072"),
        "parity": Figure(trained.parity, "probability", reference="export against Keras, 300 histories; at most 1e-4"),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
