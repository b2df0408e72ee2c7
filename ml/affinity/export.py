"""Export of the fitted Keras model to the arrays that serve, and the proof that both rank alike."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import keras
import numpy as np
from numpy.typing import NDArray

from core.errors import PenchantError
from ml.affinity.network import Network, sigmoid

TOLERANCE = 1e-4  # of a probability; the order of 32-bit sums alone makes up to a tenth of it
TOP = 100  # items whose order is compared
TOGETHER = 32  # histories that Keras ranks in one call


class ExportDiffers(PenchantError):
    """The exported ranker does not rank like the Keras model."""


def exported(model: keras.Model) -> Network:
    """The model's weights, with the scaling of the features folded into the first layer."""
    scaled = model.get_layer("scaled")
    mean = np.asarray(scaled.mean, np.float64).ravel()
    deviation = np.sqrt(np.asarray(scaled.variance, np.float64)).ravel()
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    kernels = [np.asarray(layer.kernel, np.float64) for layer in dense]
    biases = [np.asarray(layer.bias, np.float64) for layer in dense]
    biases[0] = biases[0] - (mean / deviation) @ kernels[0]
    kernels[0] = kernels[0] / deviation[:, None]
    return Network(
        tuple(np.ascontiguousarray(kernel, np.float32) for kernel in kernels),
        tuple(bias.astype(np.float32) for bias in biases),
    )


def calibrated(network: Network, slope: float, shift: float) -> Network:
    """The network whose logits are slope x logits + shift."""
    kernel, bias = network.kernels[-1] * np.float32(slope), network.biases[-1] * np.float32(slope) + np.float32(shift)
    return replace(network, kernels=(*network.kernels[:-1], kernel), biases=(*network.biases[:-1], bias))


def check_parity(
    model: keras.Model, network: Network, slope: float, shift: float, histories: Sequence[NDArray[np.float32]]
) -> float:
    """The largest difference of a probability over real candidate lists (candidates, FEATURES).

    Raises `ExportDiffers` when it is above TOLERANCE, or when the first TOP items are not in the order of Keras (apart
    from equal scores).
    """
    worst = 0.0
    for features, logits in zip(histories, _logits(model, histories), strict=True):
        ours = sigmoid(network.logits(features))
        theirs = sigmoid(np.float32(slope) * logits + np.float32(shift))
        difference = float(np.abs(ours - theirs).max())
        in_our_order = theirs[np.argsort(-ours, kind="stable")[:TOP]]
        if not difference <= TOLERANCE or (np.diff(in_our_order) > TOLERANCE).any():  # also for NaN
            raise ExportDiffers(f"the exported ranker differs from the Keras model by {difference:.2g}")
        worst = max(worst, difference)
    return worst


def _logits(model: keras.Model, histories: Sequence[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """(candidates,) of each history by Keras, several at a time: a call costs more than its pairs."""
    for start in range(0, len(histories), TOGETHER):
        some = histories[start : start + TOGETHER]
        padded = np.zeros((len(some), max(map(len, some)), some[0].shape[1]), np.float32)
        for place, features in enumerate(some):
            padded[place, : len(features)] = features
        logits = np.asarray(model(padded, training=False), np.float32)
        yield from (own[: len(features)] for own, features in zip(logits, some, strict=True))
