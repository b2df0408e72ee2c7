"""Logs without a clock: only the order of each person's lines is known, and each line stands for one minute.

`penchant load` writes such times for `clock = "none"`: the lines of a person are one minute apart, and everybody's last
line has the same time. A step back in time is thus the same as a line back for everybody, and cuts can be as for any
other log: what is before a cut is never learned from what is after it. But no time of day, no recency in days, no gap
between two purchases and no time until an item is wanted again can be learned from such a log.
"""

import numpy as np

from ml.log import Log

STEP = 60  # seconds between two lines of a person
MOST_ODD = 0.01  # share of the gaps that may differ: events that were reported after the load


def is_clockless(log: Log) -> bool:
    """Whether the lines of people follow each other by one step, nearly all of them."""
    gaps = np.diff(log.occurred)[log.person[1:] == log.person[:-1]]
    return len(gaps) > 0 and float((gaps != STEP).mean()) <= MOST_ODD
