"""Training of the sequence net: fit it, export it, prove the export, and choose how much the rules of lines count."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.sequence.blending import SequenceBlend, with_best_weight
from ml.sequence.config import SequenceConfig, config_for
from ml.sequence.export import check_parity, exported
from ml.sequence.fitting import fit
from ml.sequence.lessons import Lesson
from ml.sequence.rule_counting import line_rules

PROOFS = 300  # real histories that the export has to rank like Keras


@dataclass(frozen=True, eq=False)
class TrainedSequence:
    """A blend that may serve."""

    blend: SequenceBlend
    config: SequenceConfig
    parity: float  # largest difference of a logit between Keras and the export, in units of the largest logit
    ndcg: float  # at 10, on the validation


def train_sequence(
    lesson: Lesson, epoch_done: Callable[[int, int], None], seed: int, config: SequenceConfig | None = None
) -> TrainedSequence:
    """A fitted, exported and proved net with its rules. Raises `SequenceExportDiffers`."""
    histories, items = lesson.histories, lesson.items
    config = config or config_for(histories, items, seed)
    model = fit(histories, items, lesson.attributes, config, lambda done: epoch_done(done, config.epochs))
    net = exported(model)
    random = np.random.default_rng(seed)
    people = random.permutation(np.flatnonzero(histories.lengths))[:PROOFS].tolist()
    parity = check_parity(model, net, [histories[person] for person in people])
    blend, ndcg = with_best_weight(
        SequenceBlend(net, line_rules(histories, items)), lesson.known, lesson.wanted, again=lesson.again
    )
    return TrainedSequence(blend, config, parity, ndcg)
