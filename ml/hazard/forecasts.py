"""From weekly hazards to what is asked: the probability of an order within any time, and the day to expect it."""

import numpy as np
from numpy.typing import NDArray

from ml.hazard.examples import WEEKS

LONGEST = 365  # days that a forecast looks ahead

Floats = NDArray[np.float64]


def no_order(logits: NDArray[np.floating], days: float) -> Floats:
    """(people,) the probability of no order within the days, from (people, BINS) logits of the weekly hazards.

    Within a week the hazard is constant, and so it is after the weekly bins.
    """
    log_quiet = -np.logaddexp(0, logits.astype(np.float64))  # of one week
    weeks = days / 7
    spent = np.append(np.clip(weeks - np.arange(WEEKS), 0, 1), max(weeks - WEEKS, 0))  # weeks in each bin
    quiet: Floats = np.exp(log_quiet @ spent)
    return quiet


def log_quiet(logits: NDArray[np.floating]) -> Floats:
    """(people, WEEKS + 2) logarithms of the probability of no order within 0, 1, 2, ... weeks.

    Between two weeks they are on a line, and later weeks are like the last one.
    """
    weekly = -np.logaddexp(0, logits.astype(np.float64))
    return np.concatenate([np.zeros((len(logits), 1)), np.cumsum(weekly, axis=1)], axis=1)


def expected_days(logits: NDArray[np.floating], within: float) -> Floats:
    """(people,) the mean days to the next order of those who order within that time."""
    ends = np.append(np.arange(7, within, 7), within)
    quiet = np.stack([np.ones(len(logits)), *(no_order(logits, end) for end in ends)], axis=1)
    chance = np.maximum(quiet[:, :-1] - quiet[:, 1:], 1e-12)  # (people, spans)
    middle = (np.append(0, ends[:-1]) + ends) / 2
    days: Floats = chance @ middle / chance.sum(axis=1)
    return days
