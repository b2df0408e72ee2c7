"""What a sequence net learns from a log, and on what the weight of its rules is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.baskets import first_baskets
from ml.log import Log
from ml.sequence.histories import Histories, Rows

REBUYS = 0.1  # share of the lines that are of items the person had bought before: above it, people buy the same again
LEAST_PEOPLE, LEAST_LINES = 500, 5_000  # below them a net learns nothing that the rules do not know
VALIDATED = 3_000  # people


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned from, and what the weight of the rules is chosen on."""

    histories: Histories
    items: int
    attributes: NDArray[np.int32]  # (items, k) codes, padded with -1
    known: Sequence[Rows]  # of people of the validation: what they had bought
    wanted: Sequence[Rows]  # ... and what they bought next
    again: bool  # whether people buy items again: else what is known is no candidate


def may_help(log: Log) -> bool:
    """Whether a net of this log may be better than what counts and compares: people rarely buy the same again."""
    kept = log.kept
    if len(kept) < LEAST_LINES or len(np.unique(kept.person)) < LEAST_PEOPLE:
        return False
    return rebuy_share(kept) < REBUYS


def rebuy_share(log: Log) -> float:
    """The share of the lines whose item the person had bought before, in another order."""
    lines = np.unique(np.stack([log.person, log.item, log.order]).astype(np.int64), axis=1)
    pairs = np.unique(lines[0] << 32 | lines[1])
    return 1 - len(pairs) / max(int(lines.shape[1]), 1)


def lesson_of(past: Log, log: Log, numbers: NDArray[np.uint32], start: int, end: int, seed: int) -> Lesson:
    """Learn from `past`; choose on the first order of each person between `start` and `end` (seconds) in `log`."""
    known, wanted = _first_orders(log, numbers, start, end, seed)
    again = rebuy_share(past.kept) >= REBUYS
    return Lesson(Histories.of(past, numbers), len(numbers), attributes_of(log, numbers), known, wanted, again)


def attributes_of(log: Log, numbers: NDArray[np.uint32]) -> NDArray[np.int32]:
    """(items, 1) the category of each item, as far as the log knows it; else -1."""
    if log.category is None:
        return np.full((len(numbers), 1), -1, np.int32)
    return log.category[np.searchsorted(log.numbers, numbers)][:, None].astype(np.int32)


def _first_orders(
    log: Log, numbers: NDArray[np.uint32], start: int, end: int, seed: int
) -> tuple[list[Rows], list[Rows]]:
    """What people knew before their first order of a span, and what they ordered then."""
    kept = log.of_items(numbers).kept
    baskets = first_baskets(kept, start, end)
    starts = np.searchsorted(kept.person, np.arange(len(kept.people) + 1))
    rows = np.searchsorted(numbers, kept.item).astype(np.int32)
    known: list[Rows] = []
    wanted: list[Rows] = []
    for index in np.random.default_rng(seed).permutation(len(baskets)).tolist():
        first, last = starts[baskets.people[index] : baskets.people[index] + 2]
        before = first + np.searchsorted(kept.occurred[first:last], baskets.visits[index])
        if before > first:
            known.append(rows[first:before])
            wanted.append(np.searchsorted(numbers, baskets[index]).astype(np.int32))
        if len(known) == VALIDATED:
            break
    return known, wanted
