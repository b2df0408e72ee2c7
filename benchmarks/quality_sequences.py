"""What the benchmarks of the sequence net share: histories whose last item is foretold, over all items."""

import resource
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.quality import cpu_seconds

VALIDATED = 6_000  # people that the weight of the rules is chosen on

Rows = NDArray[np.int32]


def next_item_figures(
    histories: Sequence[Rows],
    *,
    items: int,
    attributes: NDArray[np.int32],
    validated: NDArray[np.bool_],
    published: str,
    seed: int,
) -> dict[str, Figure]:
    """Learn from all items but the last one, of people who are validated all but the last two; then foretell the last.

    Every item is ranked, except those the person had before. `published` are the figures of others, in words.
    """
    from ml.metrics import hit_rate, interval, ndcg, reciprocal_rank
    from ml.sequence.blending import best_rows
    from ml.sequence.histories import Histories
    from ml.sequence.lessons import Lesson
    from ml.sequence.rule_counting import line_rules
    from ml.sequence.training import train_sequence

    began, busy = time.monotonic(), cpu_seconds()
    learned = [rows[:-2] if own else rows[:-1] for rows, own in zip(histories, validated, strict=True)]
    known = Histories(np.concatenate(learned), np.append(0, np.cumsum([len(rows) for rows in learned])))
    tuned = np.random.default_rng(seed).permutation(np.flatnonzero(validated))[:VALIDATED].tolist()
    lesson = Lesson(
        known, items, attributes, [histories[at][:-2] for at in tuned], [histories[at][-2:-1] for at in tuned], False
    )
    trained = train_sequence(lesson, lambda done, of: None, seed)
    seconds, cpu = time.monotonic() - began, cpu_seconds() - busy
    blend, rules = trained.blend, line_rules(known, items)
    methods: dict[str, Callable[[Rows], NDArray[np.floating]]] = {
        "blend": blend.scores,
        "net": blend.net.logits,
        "rules": rules.sums,
    }
    found: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in methods}
    for rows in histories:
        for name, scores in methods.items():
            found[name].append(best_rows(scores(rows[:-1]), rows[:-1], 100) == rows[-1])
    metrics: dict[str, Callable[[NDArray[np.bool_]], float]] = {
        "ndcg_at_10": lambda hits: ndcg(hits, 1),
        "recall_at_10": hit_rate,
        "mrr_at_100": reciprocal_rank,
    }
    values = {
        (name, metric): np.array([measure(hits) for hits in found[name]])
        for name in methods
        for metric, measure in metrics.items()
    }
    figures = {
        metric: Figure(
            float(values["blend", metric].mean()),
            "",
            *interval(values["blend", metric], seed, draws=500),
            f"{published}net alone {values['net', metric].mean():.4f}, rules {values['rules', metric].mean():.4f}",
        )
        for metric in metrics
    }
    one = [histories[at][:-1] for at in tuned[:300]]
    spent = time.perf_counter()
    for rows in one:
        blend.scores(rows)
    spent = (time.perf_counter() - spent) / max(len(one), 1)
    config = trained.config
    return figures | {
        "people": Figure(len(histories), "", reference=f"{items:,} items"),
        "validation_ndcg_at_10": Figure(trained.ndcg, "", reference=f"{len(tuned):,} people, the item before the last"),
        "rules_weight": Figure(blend.weight, "", reference="chosen on the validation"),
        "epochs": Figure(
            config.epochs, "", reference=f"batch {config.batch}, {config.blocks} blocks of {config.width}"
        ),
        "train_s": Figure(seconds, "s", reference="export proof included"),
        "train_cpu_s": Figure(cpu, "s"),
        "rss_mb": Figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB"),
        "parity": Figure(trained.parity, "", reference="export against Keras, 300 histories; at most 1e-4"),
        "serve_ms": Figure(spent * 1e3, "ms", reference="the scores of all items for one person; at most 1"),
    }
