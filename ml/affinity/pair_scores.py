"""The network over pairs of one person: the sums of its first layer from parts that many pairs share.

What an item adds is computed once per bundle, and what the person adds once per list. The result is that of
`Network.logits` for `pair_features`, up to rounding.
"""

import numpy as np
from numpy.typing import NDArray

from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES, PAIR, PERSON, Pairs
from ml.universe import COLUMNS, Universe

_ITEM, _PERSON = FEATURES.span(COLUMNS), FEATURES.span(PERSON)
_PAIR = np.array([FEATURES.index(name) for name in PAIR])


def item_sums(universe: Universe, network: Network) -> NDArray[np.float32]:
    """(n + 1, width) what each item adds to the sums of the first layer, with the bias."""
    kernel = network.kernels[0][_ITEM].astype(np.float64)
    sums: NDArray[np.float32] = (universe.columns @ kernel + network.biases[0]).astype(np.float32)
    return sums


def pair_logits(network: Network, items: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float32]:
    """(pairs,) the logits; `items` are the network's `item_sums`."""
    kernel = network.kernels[0]
    sums = pairs.features.T @ kernel[_PAIR]
    sums += items.take(pairs.rows, axis=0)
    sums += pairs.person @ kernel[_PERSON]
    return network.logits_after(sums)
