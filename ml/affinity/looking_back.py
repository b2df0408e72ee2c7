"""Looks back at people from earlier moments of a log: what the ranker learns from, before the cut and validation."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.config import TrainingConfig
from ml.affinity.training_lists import TrainingLists, training_lists
from ml.log import Log
from ml.snapshot import snapshot
from ml.splits import Spans, Window, spans_before, windows_for
from ml.trainers import ReportProgress
from ml.universe import Universe

THREADS = 2  # that look back at once; sparse products and partitions release the interpreter


class CutLog(NamedTuple):
    """A log and its spans, after the cut is chosen."""

    log: Log  # the lines of the items that may be ranked, before and after the cut
    past: Log  # those before it
    numbers: NDArray[np.uint32]  # these items
    cut: int  # seconds
    spans: Spans  # before the cut
    validation: list[Universe]  # as of the start of each window of the validation span
    config: TrainingConfig
    clockless: bool  # see ml.clockless


def training_spans(log: Log, cut: int, config: TrainingConfig, *, clockless: bool = False) -> Spans:
    """The training windows and the validation span before the cut (seconds)."""
    days = {"every": config.cut_every, "horizon": config.horizon}
    count = config.cuts or windows_for(log, cut, **days, clockless=clockless)
    return spans_before(log, cut, count=count, **days, clockless=clockless)


def look_back(
    log: Log,
    numbers: NDArray[np.uint32],
    spans: Spans,
    config: TrainingConfig,
    report: ReportProgress,
    clockless: bool,
) -> tuple[TrainingLists, list[Universe]]:
    """Lists of all training windows, and the universes of the validation span.

    Lists are made from what is before the validation span, so that nothing that is chosen on it can have read it. There
    is none where nobody came back and bought an item that could be foretold.
    """
    earlier = log.between(None, spans.validation_start)

    def lists_of(windows: Sequence[tuple[int, Window]]) -> list[TrainingLists]:
        """The lists of neighbouring windows, the older one first: it gives the next one its table of EASE."""
        found: list[TrainingLists] = []
        universe: Universe | None = None
        for index, window in windows:
            universe = snapshot(earlier, numbers, window.start, clockless=clockless, ease_of=universe)
            seed = config.seed + index
            found.append(training_lists(earlier, universe, *window, config.list_length, config.lists_limit, seed))
        return found

    parts: list[TrainingLists] = []
    windows = list(enumerate(spans.training))
    report("looking back", 0, len(windows))
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(lists_of, windows[at : at + 2][::-1]) for at in range(0, len(windows), 2)]
        then = [pool.submit(snapshot, log, numbers, each.start, clockless=clockless) for each in spans.validation]
        while tasks:
            parts += tasks.pop(0).result()
            report("looking back", len(parts), len(windows))
        validation = [task.result() for task in then]
    return TrainingLists.join(parts), validation


def with_validation(lists: TrainingLists, cut_log: CutLog) -> TrainingLists:
    """The same lists with those of the validation span: for the last fit, after everything was chosen on that span."""
    config, parts = cut_log.config, [lists]
    for index, (window, universe) in enumerate(zip(cut_log.spans.validation, cut_log.validation, strict=True)):
        seed = config.seed + len(cut_log.spans.training) + index
        parts.append(training_lists(cut_log.past, universe, *window, config.list_length, config.lists_limit, seed))
    return TrainingLists.join(parts)
