"""Dislikes: a disliked item is hidden from the person's lists and is no evidence; its neighbours get lower scores."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.returns import is_in
from ml.state import State
from ml.universe import Universe

LOWERING = 0.5  # share of its score that the nearest neighbour of a disliked item loses; further ones lose less


@dataclass(frozen=True, eq=False)
class Dislikes:
    """What a person dislikes, by catalogue number, ascending, and the neighbours that are lowered for it."""

    hidden: NDArray[np.uint32]
    near: NDArray[np.uint32]
    factor: NDArray[np.float32]  # (near,) that their scores are multiplied by

    def lower(self, numbers: NDArray[np.uint32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of items, lower for neighbours of disliked ones."""
        if not len(self.near):
            return scores
        place = np.minimum(np.searchsorted(self.near, numbers), len(self.near) - 1)
        factor = np.where(self.near[place] == numbers, self.factor[place], np.float32(1))
        return (scores * factor).astype(np.float32)


def dislikes(universe: Universe | None, state: State) -> Dislikes:
    """The dislikes of a person; without a universe no neighbours are known. Of several, the nearest counts.

    Of a person who did nothing, or whose behaviour does not count, hidden items say nothing of others.
    """
    hidden = state.disliked
    if universe is None or not len(hidden) or not len(state.recent):
        return Dislikes(hidden, np.empty(0, np.uint32), np.empty(0, np.float32))
    rows = universe.rows(hidden)
    closeness = universe.near_score[rows]
    closeness = closeness / np.maximum(closeness.max(axis=1, keepdims=True), 1e-9)
    closest = np.zeros(len(universe.numbers) + 1, np.float32)  # by row; the last is of what is no neighbour
    np.maximum.at(closest, universe.near[rows].ravel(), closeness.ravel().astype(np.float32))
    near = np.flatnonzero(closest[:-1])
    return Dislikes(hidden, universe.numbers[near].astype(np.uint32), 1 - np.float32(LOWERING) * closest[near])


def without_items(state: State, numbers: NDArray[np.uint32]) -> State:
    """The state as if these items (ascending) had never been bought or looked at."""
    if not len(numbers):
        return state
    items, recent = is_in(state.items["item"], numbers), is_in(state.recent["item"], numbers)
    if not (items.any() or recent.any()):
        return state
    return replace(state, items=state.items[~items], recent=state.recent[~recent])
