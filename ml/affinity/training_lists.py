"""Training lists: the candidates of one person as of an earlier visit, and which of them were ordered then."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import find_candidates, gather_evidence
from ml.affinity.dislikes import without_items
from ml.affinity.pair_features import FEATURES, pair_features
from ml.baskets import all_baskets
from ml.carts import in_cart
from ml.log import Log
from ml.masks import mask_of, without
from ml.rests import resting
from ml.state import State
from ml.universe import Universe

PADDING = -1.0
Number = TypeVar("Number", bound=np.floating[Any])


@dataclass(frozen=True, eq=False)
class TrainingLists:
    """Lists of one length: of longer ones some candidates are left out, shorter ones are padded."""

    features: NDArray[np.float16]  # (lists, length, FEATURES); half of the memory, and three digits are enough
    labels: NDArray[np.float32]  # (lists, length) 1 bought, 0 not, PADDING

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All lists of several moments. It empties `parts`: only one of them at a time is in memory twice."""
        count = sum(map(len, parts))
        whole = cls(
            np.empty((count, *parts[0].features.shape[1:]), np.float16),
            np.empty((count, *parts[0].labels.shape[1:]), np.float32),
        )
        while parts:
            part = parts.pop()
            rest = count - len(part)
            whole.features[rest:count], whole.labels[rest:count] = part.features, part.labels
            count = rest
        return whole


class CandidateFeatures(NamedTuple):
    """One person's candidates as of a moment."""

    numbers: NDArray[np.uint32]  # (candidates,) catalogue numbers, ascending
    features: NDArray[np.float32]  # (candidates, FEATURES)


def candidate_features(log: Log, universe: Universe, person: int, as_of: int) -> CandidateFeatures | None:
    """The features that the gateway would compute for a person as of a second; None without an order or a candidate."""
    return features_of(universe, log.state(person, as_of), as_of)


def features_of(universe: Universe, state: State, as_of: int) -> CandidateFeatures | None:
    """The same for a state as of that second."""
    if not state.orders:
        return None
    disliked = state.disliked
    state = without_items(state, disliked)
    hidden = np.concatenate([resting(universe, state, as_of), in_cart(state, as_of), disliked])
    allowed = without(mask_of(universe.numbers), hidden)
    evidence = gather_evidence(universe, state, as_of)
    numbers = find_candidates(evidence, allowed, np.empty(0, np.uint32))
    return CandidateFeatures(numbers, pair_features(evidence, numbers)) if len(numbers) else None


def training_lists(
    log: Log, universe: Universe, cut: int, end: int, length: int, most: int, seed: int
) -> TrainingLists:
    """A list for each order of a candidate between `cut` and `end`, as of its own moment; at most `most`, drawn.

    The state is folded from what is before the order; the universe is as of the cut, as old as it gets in serving. All
    bought candidates are kept, up to half of the list; the others are drawn evenly for the rest of it.
    """
    random = np.random.default_rng(seed)
    baskets = all_baskets(log, cut, end)
    features: list[NDArray[np.float16]] = []
    labels: list[NDArray[np.float32]] = []
    for index in random.permutation(len(baskets)):
        if len(labels) == most:
            break
        found = candidate_features(log, universe, int(baskets.people[index]), int(baskets.visits[index]))
        if found is None or not (bought := np.isin(found.numbers, baskets[int(index)])).any():
            continue
        kept = _draw(bought, length, random)
        features.append(_padded(found.features[kept].astype(np.float16), length, 0.0))
        labels.append(_padded(bought[kept].astype(np.float32), length, PADDING))
    if not labels:
        return TrainingLists(np.empty((0, length, len(FEATURES)), np.float16), np.empty((0, length), np.float32))
    return TrainingLists(np.stack(features), np.stack(labels))


def _draw(bought: NDArray[np.bool_], length: int, random: np.random.Generator) -> NDArray[np.intp]:
    yes = random.permutation(np.flatnonzero(bought))[: length // 2]
    no = random.permutation(np.flatnonzero(~bought))[: length - len(yes)]
    return np.concatenate([yes, no])


def _padded(values: NDArray[Number], length: int, padding: float) -> NDArray[Number]:
    result = np.full((length, *values.shape[1:]), padding, values.dtype)
    result[: len(values)] = values
    return result
