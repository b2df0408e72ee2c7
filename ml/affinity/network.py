"""The ranker's forward pass in NumPy: a small dense network over any number of pairs."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
TOGETHER: Final = 192  # pairs at a time: their hidden layers stay in the cache of one core
LARGEST_BUFFER: Final = 256 * 1024  # numbers in a buffer that is used again: 1 MB


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
        return self.outputs(features)[:, 0]

    def outputs(self, features: Floats) -> Floats:
        """(rows, features) -> (rows, outputs): all of a network that has several."""
        sums = self.kernels[0].T @ features.T
        sums += self.biases[0][:, None]
        return self._after(sums).T

    def logits_after(self, kernel: Floats, features: Floats) -> Floats:
        """(pairs,) with another first layer: a kernel (width, features) without a bias, and (features, pairs)."""
        pairs = features.shape[1]
        logits = np.empty(pairs, np.float32)
        for start in range(0, pairs, TOGETHER):
            some = features[:, start : start + TOGETHER]
            sums = np.matmul(kernel, some, out=_scratch("sums", len(kernel), some.shape[1]))
            logits[start : start + TOGETHER] = self._after(sums)[0]
        return logits

    def _after(self, sums: Floats) -> Floats:
        """(outputs, pairs) from the sums (width, pairs) of the first layer, which are overwritten."""
        for layer, (kernel, bias) in enumerate(zip(self.kernels[1:], self.biases[1:], strict=True)):
            np.maximum(sums, 0, out=sums)
            if kernel.ndim == 2:
                sums = kernel.T @ sums
            else:
                networks, inputs, outputs = kernel.shape
                hidden = sums.reshape(networks, inputs, -1)
                sums = _scratch(f"hidden {layer}", networks * outputs, hidden.shape[2])
                np.matmul(kernel.transpose(0, 2, 1), hidden, out=sums.reshape(networks, outputs, -1))
            sums += bias[:, None]
        return sums


class _Buffers(threading.local):
    """Memory that a thread uses again for each list: fresh memory costs as much as the multiplications."""

    def __init__(self) -> None:
        self.by_name: dict[str, Floats] = {}


_buffers = _Buffers()


def _scratch(name: str, rows: int, columns: int) -> Floats:
    """(rows, columns) of any values, valid until the same thread asks for the name again."""
    size = rows * columns
    if size > LARGEST_BUFFER:
        return np.empty((rows, columns), np.float32)
    buffer = _buffers.by_name.get(name)
    if buffer is None or len(buffer) < size:
        buffer = _buffers.by_name[name] = np.empty(size, np.float32)
    return buffer[:size].reshape(rows, columns)


def averaged(networks: Sequence[Network]) -> Network:
    """One network whose logits are the mean of those of several of the same shapes."""
    if len(networks) == 1:
        return networks[0]
    first, *middle, last = zip(*(network.kernels for network in networks), strict=True)
    *biases, shift = zip(*(network.biases for network in networks), strict=True)
    kernels = (
        np.concatenate(first, axis=1),
        *(np.stack(layer) for layer in middle),
        np.concatenate(last) / np.float32(len(networks)),
    )
    return Network(
        tuple(np.ascontiguousarray(kernel, np.float32) for kernel in kernels),
        (*(np.concatenate(bias) for bias in biases), np.mean(shift, axis=0)),
    )


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), with x limited to -60 to 60."""
    result: Floats = np.reciprocal(1 + np.exp(-np.clip(logits, -60, 60)), dtype=np.float32)
    return result
