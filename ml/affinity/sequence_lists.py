"""A sequence net for the affinity model, and lists that the ranker can learn its worth from.

The lists are of people whose last lines the net did not learn from: in the others' lists it would know the answer.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.training_lists import TrainingLists, training_lists
from ml.log import Log
from ml.sequence.lessons import lesson_of
from ml.sequence.training import TrainedSequence, train_sequence
from ml.snapshot import snapshot
from ml.splits import Spans
from ml.trainers import ReportProgress

APART = 0.3  # share of the people whose lists the ranker learns from


class SequenceLists(NamedTuple):
    """A net, and lists with its scores."""

    trained: TrainedSequence
    lists: TrainingLists


def learn_sequence(
    past: Log,
    numbers: NDArray[np.uint32],
    spans: Spans,
    clockless: bool,
    length: int,
    most: int,
    seed: int,
    report: ReportProgress,
) -> SequenceLists:
    """Fit a net to what is before the validation span; make at most `most` lists (of `length`) of the last window."""
    earlier = past.between(None, spans.validation_start)
    start, end = spans.training[0]
    late = earlier.occurred >= start
    apart = (np.random.default_rng(seed).random(len(past.people)) < APART)[earlier.person]
    learned, asked = earlier.where(~(late & apart)), earlier.where(~late | apart)
    lesson = lesson_of(learned, past, numbers, spans.validation_start, spans.validation[0].end, seed)
    trained = train_sequence(lesson, lambda done, of: report("fitting the sequence net", done, of), seed)
    universe = replace(snapshot(earlier, numbers, start, clockless=clockless), sequence=trained.blend)
    return SequenceLists(trained, training_lists(asked, universe, start, end, length, most, seed))
