"""Where a log is cut in time: training windows, then the validation span, then the cut and the test span after it.

Networks are fitted on the training windows; choices and calibration see the validation span alone. What was chosen is
then fitted once more, on both. What is after the cut is for the evaluation: no fit and no choice reads it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ml.clockless import STEP, is_clockless
from ml.log import Log

DAY = 86_400
HOLDOUT = 28  # days at the end of a log that a training keeps for evaluation
FORECAST_HOLDOUT = 90  # the same of a forecast's training
LEAST_DAYS = 35  # before the cut, of which a forecast can be learned: five moments, a week apart
LEAST_TESTED = 7  # days after the cut, by which a forecast can be judged: it counts in weeks


WINDOWS, MORE_WINDOWS = 6, 12  # training windows, and those of a log with fewer orders than FEW in the former
FEW = 9_000
REACH = 0.6  # of the log before the cut, at most: what is before the first window is known as of its start


class Window(NamedTuple):
    """A moment that people are looked at from, and the end of its horizon, in seconds."""

    start: int
    end: int


class Spans(NamedTuple):
    """Consecutive spans before a cut, windows latest first; all training windows end by the start of validation."""

    training: tuple[Window, ...]
    validation: tuple[Window, ...]  # the last ends at the cut; two with a clock, so that visits have a whole horizon

    @property
    def validation_start(self) -> int:
        """Second at which the validation span begins: nothing that is chosen on it is fitted on what comes later."""
        return self.validation[-1].start


def holdout_cut(log: Log, days: int) -> int:
    """The cut (seconds) that keeps the last `days`, or the last fifth of a short log, for evaluation.

    Of a log without a clock it keeps the last line of each person.
    """
    if is_clockless(log):
        return int(log.occurred.max())
    return cut_between(int(log.occurred.min()), int(log.occurred.max()), days)


def cut_between(first: int, last: int, days: int = HOLDOUT) -> int:
    """The same for a log with a clock, by the seconds of its first and its last line."""
    return last + 1 - min(days * DAY, (last - first) // 5)


def windows_after(log: Log, cut: int, count: int) -> tuple[Window, ...]:
    """The test span, from the cut (seconds) to the end of the log, in `count` windows of at least a day.

    A log without a clock has one.
    """
    end = max(int(log.occurred.max(initial=cut)) + 1, cut + 1)
    if is_clockless(log.between(None, cut)):
        return (Window(cut, end),)
    count = max(1, min(count, (end - cut) // DAY))
    edges = [cut + (end - cut) * place // count for place in range(count + 1)]
    return tuple(Window(*each) for each in pairwise(edges))


def windows_for(log: Log, cut: int, *, every: int, horizon: int, clockless: bool = False) -> int:
    """How many training windows before the cut (seconds) a log needs: more of a small one, as far as it reaches back.

    `every` and `horizon` are days, as in `spans_before`.
    """
    reach = _wanted(WINDOWS, every, horizon)
    if clockless or _wanted(MORE_WINDOWS, every, horizon) > REACH * (cut - int(log.occurred.min())):
        return WINDOWS
    orders = len(np.unique(log.order[(log.occurred >= cut - reach) & (log.occurred < cut)]))
    return MORE_WINDOWS if orders < FEW else WINDOWS


def spans_before(log: Log, cut: int, *, count: int, every: int, horizon: int, clockless: bool = False) -> Spans:
    """`count` training windows, and the validation span between them and the cut (seconds).

    `every`, between the starts of training windows, and `horizon`, the length of each window, are days. Both shrink to
    fit a short log. Without a clock each window is one line of everybody.
    """
    first = int(log.occurred.min())
    if clockless:
        end = min(cut, int(log.occurred.max()) + STEP)
        windows = [Window(end - (back + 1) * STEP, end - back * STEP) for back in range(count + 1)]
        return Spans(tuple(each for each in windows[1:] if each.start > first), (windows[0],))
    scale = min(1.0, REACH * (cut - first) / _wanted(count, every, horizon))
    length, step = max(1, int(horizon * DAY * scale)), max(1, int(every * DAY * scale))
    validation = tuple(Window(cut - (back + 1) * length, cut - back * length) for back in range(2))
    starts = (validation[-1].start - length - index * step for index in range(count))
    return Spans(tuple(Window(start, start + length) for start in starts), validation)


def _wanted(count: int, every: int, horizon: int) -> int:
    """The seconds of so many training windows and the validation span."""
    return (3 * horizon + (count - 1) * every) * DAY
