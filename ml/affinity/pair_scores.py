"""The network over pairs of one person: its first layer takes what the person adds once, and not per pair.

The result is that of `Network.logits` for `pair_features`, up to rounding.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.network import Network
from ml.affinity.pair_features import PAIR_AT, PERSON_AT, Pairs


class PairNetwork(NamedTuple):
    """A network whose first layer is taken apart."""

    whole: Network
    pair: NDArray[np.float32]  # (PAIR + 1, width) of the first layer; the last row is the bias
    person: NDArray[np.float32]  # (PERSON, width)

    @classmethod
    def of(cls, network: Network) -> "PairNetwork":
        """The same network."""
        kernel, bias = network.kernels[0], network.biases[0]
        return cls(network, np.concatenate([kernel[PAIR_AT], bias[None]]), np.ascontiguousarray(kernel[PERSON_AT]))


def pair_logits(network: PairNetwork, pairs: Pairs) -> NDArray[np.float32]:
    """(pairs,) the logits."""
    kernel = network.pair.copy()
    kernel[-1] += pairs.person @ network.person
    return network.whole.logits_after(kernel.T, pairs.features)
