"""Training lists: the candidates of one person as of an earlier moment, and which of them the next order held."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.baskets import first_baskets
from ml.candidates import find
from ml.features import FEATURES, pair_features
from ml.log import Log
from ml.ranking import awake
from ml.universe import Universe

PADDING = -1.0


@dataclass(frozen=True, eq=False)
class Lists:
    """Equally long lists, some candidates left out or padded."""

    features: NDArray[np.float32]  # (lists, length, FEATURES)
    labels: NDArray[np.float32]  # (lists, length) 1 bought, 0 not, PADDING

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All lists of several moments."""
        return cls(np.concatenate([part.features for part in parts]), np.concatenate([part.labels for part in parts]))


def everybody(numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """The mask by catalogue number that allows a universe's items and no other."""
    allowed = np.zeros(int(numbers.max(initial=0)) + 1, np.bool_)
    allowed[numbers] = True
    return allowed


def candidate_features(
    log: Log, universe: Universe, person: int, as_of: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]] | None:
    """What the gateway would compute for a person at a moment: candidates and their features; None without any."""
    state = log.state(person, as_of)
    if not state.orders:
        return None
    allowed = awake(universe, state, as_of, everybody(universe.numbers))
    found = find(universe, state, as_of, allowed, np.empty(0, np.uint32))
    if not len(found.numbers):
        return None
    return found.numbers, pair_features(universe, state, found.numbers, found.near, found.following, as_of)


def training_lists(log: Log, universe: Universe, cut: int, end: int, length: int, most: int, seed: int) -> Lists:
    """A list for each person (at most so many, drawn) who orders a candidate between `cut` and `end`.

    States and candidates know nothing from the cut on. All bought candidates are kept, up to half of the list, and of
    the others as many as there is room for, drawn evenly.
    """
    random = np.random.default_rng(seed)
    baskets = first_baskets(log, cut, end)
    features: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.float32]] = []
    for index in random.permutation(len(baskets)):
        seen = candidate_features(log, universe, int(baskets.people[index]), cut)
        if len(labels) == most:
            break
        if seen is None or not (bought := np.isin(seen[0], baskets[int(index)])).any():
            continue
        kept = _drawn(bought, length, random)
        features.append(_padded(seen[1][kept], length, 0.0))
        labels.append(_padded(bought[kept].astype(np.float32), length, PADDING))
    if not labels:
        return Lists(np.empty((0, length, len(FEATURES)), np.float32), np.empty((0, length), np.float32))
    return Lists(np.stack(features), np.stack(labels))


def _drawn(bought: NDArray[np.bool_], length: int, random: np.random.Generator) -> NDArray[np.intp]:
    yes = random.permutation(np.flatnonzero(bought))[: length // 2]
    no = random.permutation(np.flatnonzero(~bought))[: length - len(yes)]
    return np.concatenate([yes, no])


def _padded(values: NDArray[np.float32], length: int, padding: float) -> NDArray[np.float32]:
    result = np.full((length, *values.shape[1:]), padding, np.float32)
    result[: len(values)] = values
    return result
