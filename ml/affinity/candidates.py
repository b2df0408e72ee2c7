"""The candidates for one person's list, and the evidence for each."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.cold_candidates import ColdEvidence, cold_evidence, strongest
from ml.affinity.own_features import OwnFeatures
from ml.affinity.sources import SOURCES, CategoryShares, History, Said, history, say
from ml.masks import Mask, distinct, first_allowed, is_allowed
from ml.state import State
from ml.universe import HALF_LIFE, Universe

MOST_OWN = 96  # of the person's own items that a list ranks, beside those that a source names
POPULAR = 100  # most popular candidates, beside the person's own items and those of each source
_BOUGHT = ("item", "lines", "first", "last", "decayed", "spend")  # of a state's items: what evidence is made from


@dataclass(frozen=True, eq=False)
class ItemEvidence:
    """The evidence that one person's state gives for every item, before any filter."""

    history: History
    said: dict[str, Said]  # by the names of SOURCES, in their order
    own: OwnFeatures
    shares: CategoryShares | None
    first: "ItemEvidence | None" = field(default=None, repr=False)  # which this was made from, as of a later second

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays, but for those of the state."""
        known, shares = self.history, self.shares
        arrays = (known.items, known.purchases, known.weights, *([] if shares is None else [shares.by_code]))
        said = sum(one.nbytes for one in self.said.values())
        return said + self.own.nbytes + sum(array.nbytes for array in arrays)

    def at(self, universe: Universe, state: State, as_of: int, session: int = 0) -> "ItemEvidence | None":
        """The evidence of a later state as of a later second; None unless it has the same purchases."""
        before = self.history
        if universe is not before.universe or not state.last <= before.as_of <= as_of:
            return None
        if not _same_purchases(state, before.state):
            return None
        now, faded = before.at(state, as_of, session), 0.5 ** ((as_of - before.as_of) / HALF_LIFE)
        said = {
            name: one.faded(faded) if SOURCES[name].of_purchases else say(SOURCES[name], now)
            for name, one in self.said.items()
        }
        return ItemEvidence(now, said, self.own, self.shares, self)

    @cached_property
    def cold(self) -> ColdEvidence:
        """What speaks for the items that nobody bought."""
        return cold_evidence(self.history)


def gather_evidence(
    universe: Universe, state: State, as_of: int, kept: ItemEvidence | None = None, session: int = 0
) -> ItemEvidence:
    """The evidence of one person's state as of a second.

    `kept` is evidence of the same person from before: while its purchases are those of the state, only time has passed.
    `session` is the hash of the one that runs; 0: the events say which visit runs.
    """
    found = None if kept is None else kept.at(universe, state, as_of, session)
    if found is not None:
        return found
    known = history(universe, state, as_of, session)
    said = {name: say(source, known) for name, source in SOURCES.items()}
    return ItemEvidence(known, said, OwnFeatures.of(universe, state, as_of), CategoryShares.of(known))


def to_keep(evidence: ItemEvidence) -> ItemEvidence:
    """What to keep of evidence: without what is quickly computed again."""
    found = evidence.first or evidence
    return ItemEvidence(found.history.at(found.history.state, found.history.as_of), found.said, found.own, found.shares)


def find_candidates(
    evidence: ItemEvidence, allowed: Mask, extra: NDArray[Any], most_own: int | None = None
) -> NDArray[np.uint32]:
    """The person's own items, those of all sources, popular and never sold ones, and `extra`: numbers, ascending.

    `allowed` is by catalogue number and is applied before each source is cut off, so that a filter never shortens it.
    `most_own` cuts the person's own items off, too.
    """
    universe = evidence.history.universe
    parts = [
        _largest(universe, said, allowed, most) for name, said in evidence.said.items() if (most := SOURCES[name].most)
    ]
    if universe.cold is not None and universe.cold.chance is not None:
        parts.append(strongest(evidence.cold, allowed))
    popular = first_allowed(universe.popular_numbers, allowed, POPULAR)
    own = evidence.own.items
    if most_own is not None and len(own) > most_own:
        own = first_allowed(evidence.own.most_bought, allowed, most_own)
    given = np.concatenate([own, extra]).astype(np.uint32)
    return distinct(np.concatenate([given[is_allowed(given, allowed)], *parts, popular]))


def _largest(universe: Universe, said: Said, allowed: Mask, most: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the allowed items with the largest scores."""
    numbers = universe.numbers.take(said.best)
    numbers = numbers[is_allowed(numbers, allowed)]
    if len(numbers) >= most or len(said.best) == len(said.rows):
        return numbers[:most]
    numbers = universe.numbers.take(said.rows)
    kept = is_allowed(numbers, allowed)
    numbers = numbers[kept]
    if len(numbers) > most:
        numbers = numbers[np.argpartition(-said.scores[kept], most)[:most]]
    return numbers


def _same_purchases(state: State, other: State) -> bool:
    """Whether what both states say of purchases is the same. That is all that evidence is kept of."""
    if state is other:
        return True
    return (
        state.orders == other.orders
        and len(state.bought) == len(other.bought)
        and all(np.array_equal(state.bought[name], other.bought[name]) for name in _BOUGHT)
        and np.array_equal(state.recent_orders, other.recent_orders)
        and np.array_equal(state.ledger.lines, other.ledger.lines)
    )
