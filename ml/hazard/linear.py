"""A linear hazard: logistic regression of "orders this week" with an intercept per bin, by L-BFGS (scipy).

It serves where the net may not, on some or all of the features.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ml.affinity.network import Network
from ml.hazard.examples import BINS, Floats, Outcomes

RIDGE = 1.0  # on the weights of standardized features
PRIOR = 5.0  # weeks at the overall rate that each bin begins with


def fit_linear(features: Floats, outcomes: Outcomes, columns: Sequence[int]) -> Network:
    """The regression on these columns; the others count for nothing."""
    used = features[:, columns].astype(np.float64)
    mean, spread = used.mean(axis=0), used.std(axis=0)
    scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
    x = (used - mean) * scale
    rate = (outcomes.ordered.sum() + 0.5) / (outcomes.at_risk.sum() + 1)
    at_risk, ordered = outcomes.at_risk.astype(np.float64), outcomes.ordered.astype(np.float64)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        slope, shift = weights[: len(columns)], weights[len(columns) :]
        logits = (x @ slope)[:, None] + shift
        value = (at_risk * np.logaddexp(0, logits) - ordered * logits).sum() + RIDGE * slope @ slope / 2
        value += PRIOR * (np.logaddexp(0, shift) - rate * shift).sum()
        wrong = at_risk * expit(logits) - ordered
        gradient = np.append(x.T @ wrong.sum(axis=1) + RIDGE * slope, wrong.sum(axis=0) + PRIOR * (expit(shift) - rate))
        return float(value), gradient

    start = np.append(np.zeros(len(columns)), np.full(BINS, np.log(rate / (1 - rate))))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-15, 15)] * len(start)).x
    slope = found[: len(columns)] * scale
    kernel = np.zeros((features.shape[1], BINS), np.float32)
    kernel[columns] = slope[:, None]
    return Network((kernel,), ((found[len(columns) :] - mean @ slope).astype(np.float32),))
