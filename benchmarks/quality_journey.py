"""Next basket in the Complete Journey log, cut 2017-11-01: the ranker against popularity and personal frequency."""

import resource
import time

from benchmarks.figures import Figure

MINUTES = 4.0


def run(seed: int) -> dict[str, Figure]:
    """Train on the orders before the cut, then evaluate on each person's first order after it."""
    from benchmarks.journey_log import CUT, journey_log
    from ml.training import TrainingConfig, train

    log = journey_log()
    began, busy = time.monotonic(), _cpu_seconds()
    trained = train(log, CUT, TrainingConfig(seed=seed), lambda stage, done, of: None)
    seconds, cpu = time.monotonic() - began, _cpu_seconds() - busy
    ours, others = trained.evaluation.methods["ranker"], trained.evaluation.methods
    figures = {
        metric: Figure(
            ours[metric].value,
            "",
            ours[metric].low,
            ours[metric].high,
            ", ".join(
                f"{name.replace('_', ' ')} {others[name][metric].value:.4f}" for name in others if name != "ranker"
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
