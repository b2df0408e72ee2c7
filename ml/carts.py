"""What is in a person's cart, as far as their events say."""

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.state import CODE, PURCHASE, State
from ml.universe import DAY

CART_TIME = 7 * DAY  # an item leaves the cart so long after it was added, if no event says so before
_ADDED = CODE[EventType.ADD_TO_CART]
_CHANGES_CART = np.isin(np.arange(len(EventType)), [_ADDED, CODE[EventType.REMOVE_FROM_CART], PURCHASE])  # by type code


def in_cart(state: State, as_of: int) -> NDArray[np.uint32]:
    """The catalogue numbers of items that were added, and neither removed nor bought since, by the recent events."""
    types = state.recent["type"]
    if not (types == _ADDED).any():
        return np.empty(0, np.uint32)
    newest: dict[int, bool] = {}  # whether the newest event about it adds it
    for item, type, occurred, _ in state.recent[_CHANGES_CART[types]].tolist():  # newest first
        newest.setdefault(item, type == _ADDED and occurred > as_of - CART_TIME)
    return np.array([item for item, added in newest.items() if added], np.uint32)
