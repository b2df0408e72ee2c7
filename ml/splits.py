"""Where a log is cut in time: training windows, then the validation span, then the cut and the test span after it.

Networks are fitted on the training windows; choices and calibration see the validation span alone. What was chosen is
then fitted once more, on both. What is after the cut is for the evaluation: no fit and no choice reads it.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.clockless import STEP, is_clockless
from ml.log import Log

DAY, WEEK = 86_400, 7 * 86_400
HOLDOUT = 28  # days at the end of a log that a training keeps for evaluation; more where few people came back in them
FORECAST_HOLDOUT = 90  # the same of a forecast's training, at most
ENOUGH = 200  # people who came back: a test span of lists that has so many need not be longer
NEARLY = 0.9  # where no span has them, one with this part of the most people is as good, if it has half of ENOUGH
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


class Cuts(NamedTuple):
    """The cuts that may be chosen in a log with a clock: the first of them, and those up to `weeks` weeks before it."""

    first: int  # seconds
    weeks: int

    @classmethod
    def between(cls, begin: int, last: int, days: int) -> Self:
        """The first keeps the last `days`, and none more than the last fifth; by the log's first and last second."""
        cut = cut_between(begin, last, days)
        return cls(cut, (cut - cut_between(begin, last)) // WEEK)

    def weeks_to(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many weeks before the first cut each moment (seconds) is, begun ones whole; at most `weeks` + 1."""
        return np.clip(-((moments - self.first) // WEEK), 0, self.weeks + 1)

    def chosen(self, came: ArrayLike, lapsed: ArrayLike) -> int:
        """The last cut (seconds) after which ENOUGH people came back, or nearly as many as after any of them.

        `came` and `lapsed` have for each number of weeks the people whose first and whose last purchase is so long
        before the first cut, as `weeks_to` counts. Who bought before a cut and after it came back.
        """
        back = (np.cumsum(lapsed) - np.cumsum(came))[: self.weeks + 1]
        most = int(back.max())
        wanted = min(max(NEARLY * most, min(most, ENOUGH // 2)), ENOUGH)
        return self.first - WEEK * int(np.argmax(back >= wanted))


def holdout_cut(log: Log, days: int) -> int:
    """The cut (seconds) that keeps the last `days` for evaluation, at most the last fifth of the log.

    Where fewer than ENOUGH people came back in these days it keeps more, up to that fifth, as long as that adds people.
    Of a log without a clock it keeps the last line of each person.
    """
    if is_clockless(log):
        return int(log.occurred.max())
    cuts = Cuts.between(int(log.occurred.min()), int(log.occurred.max()), days)
    begins = np.flatnonzero(np.diff(log.person, prepend=-1))  # the log is sorted by person, then time
    came, lapsed = (cuts.weeks_to(log.occurred[at]) for at in (begins, np.append(begins[1:], len(log)) - 1))
    return cuts.chosen(*(np.bincount(each, minlength=cuts.weeks + 2) for each in (came, lapsed)))


def cut_between(first: int, last: int, days: int | None = None) -> int:
    """The cut (seconds) that keeps the last `days` of a log with a clock, by the seconds of its first and last line.

    It keeps at most the last fifth of the log, and that where no days are given.
    """
    fifth = (last - first) // 5
    return last + 1 - (fifth if days is None else min(days * DAY, fifth))


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
