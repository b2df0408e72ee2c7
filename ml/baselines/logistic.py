"""Logistic regression on standardized features, with a little ridge, by L-BFGS (scipy)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

L2 = 1.0  # on the weights of standardized features; not on the shift

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted regression."""

    weights: Floats  # (features,)
    shift: float

    def probability(self, features: Floats) -> Floats:
        """(rows, features) -> (rows,)."""
        result: Floats = expit(features @ self.weights + self.shift)
        return result


def fit_logistic(features: Floats, outcome: Floats) -> Logistic:
    """The regression of (rows,) outcomes, 0 or 1. A constant feature has no weight."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0)
    columns = np.column_stack([(features - mean) * scale, np.ones(len(features))])
    ridge = np.append(np.full(features.shape[1], L2), 0.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = columns @ weights
        value = np.logaddexp(0, logits).sum() - outcome @ logits + ridge @ weights**2 / 2
        return float(value), columns.T @ (expit(logits) - outcome) + ridge * weights

    start = np.zeros(columns.shape[1])
    share = (outcome.sum() + 0.5) / (len(outcome) + 1)
    start[-1] = np.log(share / (1 - share))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-30, 30)] * len(start)).x
    weights = found[:-1] * scale
    return Logistic(weights, float(found[-1] - mean @ weights))
