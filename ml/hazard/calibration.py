"""Slope and shift of hazards on the weeks of a later span: the rates of orders move with the seasons and the shop."""

import numpy as np

from ml.hazard.examples import Floats, Outcomes

ROUNDS = 50
RIDGE = 50.0  # on the slope's distance from 1: a short span must not turn the order of people around
LEAST_ORDERS = 50  # in the span; of fewer nothing is learned


def calibrate(logits: Floats, outcomes: Outcomes) -> tuple[float, float]:
    """Slope (at least .5) and shift of (people, BINS) logits, by Newton's method; (1, 0) where little happened."""
    if outcomes.ordered.sum() < LEAST_ORDERS:
        return 1.0, 0.0
    slope, shift = 1.0, 0.0
    x = logits.astype(np.float64)
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(slope * x + shift, -30, 30)))
        weight = np.maximum(outcomes.at_risk * chance * (1 - chance), 1e-12)
        wrong = outcomes.at_risk * chance - outcomes.ordered
        gradient = np.array([(wrong * x).sum() + RIDGE * (slope - 1), wrong.sum()])
        cross = (weight * x).sum()
        hessian = np.array([[(weight * x * x).sum() + RIDGE, cross], [cross, weight.sum()]])
        step = np.clip(np.linalg.solve(hessian, gradient), -1, 1)
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-8:
            break
    return max(float(slope), 0.5), float(shift)
