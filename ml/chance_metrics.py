"""Metrics of probabilities against what happened. Arrays are (people,); outcomes are 0 or 1."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(probability: Floats, outcome: Floats) -> float:
    """The probability that a person who came back was given more than one who did not; equal ones count half.

    >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0]))
    0.875
    """
    _, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # the mean rank of equal ones
    yes = outcome.sum()
    no = len(outcome) - yes
    return float((rank @ outcome - yes * (yes + 1) / 2) / (yes * no)) if yes and no else 0.5


def average_precision(probability: Floats, outcome: Floats) -> float:
    """The mean over people who came back of the share of such people among all who were given as much or more.

    >>> round(average_precision(np.array([0.9, 0.5, 0.1]), np.array([1, 0, 1])), 4)
    0.8333
    """
    if not outcome.sum():
        return 0.0
    values, place = np.unique(-probability, return_inverse=True)
    at_least = np.cumsum(np.bincount(place, minlength=len(values)))
    hits = np.bincount(place, outcome, minlength=len(values))
    return float((hits * np.cumsum(hits) / at_least).sum() / outcome.sum())


def calibration(probability: Floats, outcome: Floats, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, share that came back, people) of groups of as many people, lowest first.

    >>> calibration(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 0]), bins=2)
    [(0.15, 0.0, 2), (0.85, 0.5, 2)]
    """
    groups = [part for part in np.array_split(np.argsort(probability, kind="stable"), bins) if len(part)]
    return [(round(float(probability[at].mean()), 6), round(float(outcome[at].mean()), 6), len(at)) for at in groups]


def gains(probability: Floats, outcome: Floats, steps: int = 10) -> list[tuple[float, float]]:
    """(share of people asked, share of those who came back among them), the most probable first.

    >>> gains(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]), steps=2)
    [(0.5, 1.0), (1.0, 1.0)]
    """
    found = np.cumsum(outcome[np.argsort(-probability, kind="stable")]) / max(outcome.sum(), 1)
    ends = [round(len(outcome) * step / steps) for step in range(1, steps + 1)]
    return [(step / steps, float(found[end - 1]) if end else 0.0) for step, end in enumerate(ends, 1)]
