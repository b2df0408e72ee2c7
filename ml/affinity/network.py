"""The ranker's forward pass in NumPy: a small dense network over any number of pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Network:
    """Dense layers with ReLU between them and one output; the first layer includes the scaling of the features."""

    kernels: tuple[Floats, ...]  # (features, 64), (64, 32), (32, 1)
    biases: tuple[Floats, ...]

    def logits(self, features: Floats) -> Floats:
        """(pairs, features) -> (pairs,)."""
        hidden: Floats = features
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1], strict=True):
            hidden = hidden @ kernel
            hidden += bias
            np.maximum(hidden, 0, out=hidden)
        logits: Floats = (hidden @ self.kernels[-1] + self.biases[-1])[:, 0]
        return logits


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), with x limited to -60 to 60."""
    result: Floats = np.reciprocal(1 + np.exp(-np.clip(logits, -60, 60)), dtype=np.float32)
    return result
