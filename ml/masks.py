"""Masks by catalogue number: which items may be in a list."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (largest number + 1,) at least as long as needed; a number beyond it is not allowed


def mask_of(numbers: NDArray[np.uint32]) -> Mask:
    """The mask that allows these items and no other."""
    allowed = np.zeros(int(numbers.max(initial=0)) + 1, np.bool_)
    allowed[numbers] = True
    return allowed


def is_allowed(numbers: NDArray[Any], allowed: Mask) -> NDArray[np.bool_]:
    """Whether each catalogue number is allowed; numbers beyond the mask are not."""
    inside = numbers < len(allowed)
    result: NDArray[np.bool_] = inside & allowed[np.where(inside, numbers, 0)] if len(allowed) else inside
    return result


def without(allowed: Mask, numbers: NDArray[np.uint32]) -> Mask:
    """A copy of the mask that does not allow these items."""
    mask = allowed.copy()
    mask[numbers[numbers < len(mask)]] = False
    return mask
