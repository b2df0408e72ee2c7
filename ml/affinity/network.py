"""The ranker's forward pass in NumPy: a small dense network over any number of pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Network:
    """Dense layers with ReLU between them and one output; the first layer includes the scaling of the features.

    Of several networks side by side, the first layer holds the columns of all, and the last one adds them up. The
    layers between are (networks, inputs, outputs): each network sees its own part of the layer before alone.
    """

    kernels: tuple[Floats, ...]  # (features, 2 x 64), (2, 64, 32), (2 x 32, 1)
    biases: tuple[Floats, ...]  # (2 x 64,), (2 x 32,), (1,)

    def logits(self, features: Floats) -> Floats:
        """(pairs, features) -> (pairs,)."""
        return self.logits_after(features @ self.kernels[0] + self.biases[0])

    def logits_after(self, sums: Floats) -> Floats:
        """(pairs, width of the first layer), the sums of that layer -> (pairs,). The sums are overwritten."""
        return self._outputs_after(sums)[:, 0]

    def outputs(self, features: Floats) -> Floats:
        """(rows, features) -> (rows, outputs): all of a network that has several."""
        return self._outputs_after(features @ self.kernels[0] + self.biases[0])

    def _outputs_after(self, sums: Floats) -> Floats:
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            np.maximum(sums, 0, out=sums)
            sums = sums @ kernel if kernel.ndim == 2 else _side_by_side(sums, kernel)
            sums += bias
        return sums


def _side_by_side(hidden: Floats, kernel: Floats) -> Floats:
    """(pairs, networks x inputs) by (networks, inputs, outputs) -> (pairs, networks x outputs)."""
    networks, inputs, outputs = kernel.shape
    sums = np.empty((len(hidden), networks * outputs), np.float32)
    for at, own in enumerate(kernel):
        np.matmul(hidden[:, at * inputs : (at + 1) * inputs], own, out=sums[:, at * outputs : (at + 1) * outputs])
    return sums


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), with x limited to -60 to 60."""
    result: Floats = np.reciprocal(1 + np.exp(-np.clip(logits, -60, 60)), dtype=np.float32)
    return result
