"""Calibration: slope and shift that turn a ranker's logits into probabilities."""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 50
RIDGE = 1e-3  # keeps the slope finite when all logits are equal


def platt(logits: NDArray[np.float32], bought: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (at least .1, so the order stays) and shift, by Newton's method on the log loss (Platt 1999).

    The targets are Platt's: (bought + 1) / (bought + 2) and 1 / (others + 2) in place of 1 and 0. So the slope stays
    small where few purchases separate from the rest by chance, and scores do not reach 0 or 1, where all are equal.
    """
    slope, shift = 1.0, 0.0
    x, yes = logits.astype(np.float64), int(bought.sum())
    y = np.where(bought, (yes + 1) / (yes + 2), 1 / (len(bought) - yes + 2))
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(slope * x + shift, -30, 30)))
        weight = np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([((p - y) * x).sum() + RIDGE * (slope - 1), (p - y).sum() + RIDGE * shift])
        cross = (weight * x).sum()
        hessian = np.array([[(weight * x * x).sum() + RIDGE, cross], [cross, weight.sum() + RIDGE]])
        step = np.clip(np.linalg.solve(hessian, gradient), -1, 1)
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-8:
            break
    return max(float(slope), 0.1), float(shift)
