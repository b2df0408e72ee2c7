"""Where a log is cut in time: the cut it is evaluated at, and the earlier moments that training looks back from."""

from collections.abc import Iterator

from ml.clockless import STEP, is_clockless
from ml.log import Log

DAY = 86_400
HOLDOUT = 28  # days at the end of a log that a training keeps for evaluation


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


def moments(
    log: Log, cut: int, *, count: int, every: int, horizon: int, clockless: bool = False
) -> Iterator[tuple[int, int]]:
    """`count` pairs (earlier cut, end of its horizon) in seconds, latest first; `every` and `horizon` are days.

    All horizons end by `cut`. Both spans shrink to fit a short log; without a clock each is one line of everybody.
    """
    if clockless:
        first, end = int(log.occurred.min()), min(cut, int(log.occurred.max()) + STEP)
        starts = (end - (back + 1) * STEP for back in range(count))
        yield from ((start, start + STEP) for start in starts if start > first)
        return
    span = cut - int(log.occurred.min())
    wanted = horizon * DAY + (count - 1) * every * DAY
    scale = min(1.0, 0.6 * span / wanted)
    length, step = max(1, int(horizon * DAY * scale)), max(1, int(every * DAY * scale))
    for index in range(count):
        earlier = cut - length - index * step
        yield earlier, earlier + length
