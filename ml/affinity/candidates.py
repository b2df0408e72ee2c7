"""The candidates for one person's list, and the evidence for each."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.cold_candidates import ColdEvidence, cold_evidence, strongest
from ml.affinity.sources import SOURCES, History, Said, history
from ml.masks import Mask, distinct, first_allowed, is_allowed
from ml.state import State
from ml.universe import Universe

POPULAR = 100  # most popular candidates, beside the person's own items and those of each source


@dataclass(frozen=True, eq=False)
class ItemEvidence:
    """The evidence that one person's state gives for every item, before any filter."""

    history: History
    said: dict[str, Said]  # by the names of SOURCES, in their order

    @cached_property
    def cold(self) -> ColdEvidence:
        """What speaks for the items that nobody bought."""
        return cold_evidence(self.history)


def gather_evidence(universe: Universe, state: State, as_of: int) -> ItemEvidence:
    """The evidence of one person's state as of a second."""
    known = history(universe, state, as_of)
    return ItemEvidence(known, {name: source.say(known) for name, source in SOURCES.items()})


def find_candidates(evidence: ItemEvidence, allowed: Mask, extra: NDArray[Any]) -> NDArray[np.uint32]:
    """The person's own items, those of all sources, popular and never sold ones, and `extra`: numbers, ascending.

    `allowed` is by catalogue number and is applied before each source is cut off, so that a filter never shortens it.
    """
    universe = evidence.history.universe
    parts = [
        _largest(universe, said, allowed, most) for name, said in evidence.said.items() if (most := SOURCES[name].most)
    ]
    if universe.cold is not None and universe.cold.chance is not None:
        parts.append(strongest(evidence.cold, allowed))
    popular = first_allowed(universe.popular_numbers, allowed, POPULAR)
    given = np.concatenate([evidence.history.state.bought["item"], extra]).astype(np.uint32)
    return distinct(np.concatenate([given[is_allowed(given, allowed)], *parts, popular]))


def _largest(universe: Universe, said: Said, allowed: Mask, most: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the allowed items with the largest scores."""
    numbers = universe.numbers[said.rows]
    kept = is_allowed(numbers, allowed)
    numbers = numbers[kept]
    if len(numbers) > most:
        numbers = numbers[np.argpartition(-said.scores[said.rows[kept]], most)[:most]]
    return numbers
