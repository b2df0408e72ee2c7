"""The order of equals: by a hash, never by the item's number, which may follow the file that the items came from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ODD = np.uint64(2_654_435_761)  # of Knuth's multiplicative hash


def mixed(numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """The hash of each catalogue number: different for different numbers, in no order that means anything.

    >>> mixed(np.array([1, 2, 3], np.uint32)).argsort().tolist()
    [1, 0, 2]
    """
    hashes: NDArray[np.uint64] = numbers.astype(np.uint64) * _ODD & np.uint64(0xFFFF_FFFF)
    return hashes
