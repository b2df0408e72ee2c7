"""What a person likes: the categories and brands they most likely buy next."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from core.contract import Person
from core.turns import OneAtATime
from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.recommending.pages import new_pin
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from ml.affinity.affinities import Dimension, KeyAffinity, by_key, item_weights
from ml.affinity.ranking import score

__all__ = ["Dimension", "KeyAffinity", "PersonAffinities", "affinities_of", "key_of"]  # what the edge uses


class PersonAffinities(NamedTuple):
    """What a person likes, most first, and whether it is from the probabilities of a model."""

    affinities: Sequence[KeyAffinity]
    by_model: bool


async def affinities_of(
    person: Person,
    by: Dimension,
    first: int,
    catalogue: Catalogue,
    people: PersonLoader,
    recommender: Recommender,
    turns: OneAtATime,
    *,
    as_of: datetime | None = None,
) -> PersonAffinities:
    """The `first` keys that the person likes most; none for a person who never bought.

    `as_of` is a moment to come at which the person visits, with nothing new bought until then; None: now.
    """
    state, *_ = await people.state(person)
    bundle = recommender.bundle
    pin = new_pin(bundle.id if bundle else None)
    if as_of is not None:
        pin = pin._replace(as_of=int(as_of.timestamp()))
    async with turns:
        scored = None
        if bundle is not None and bundle.chance is not None and state.orders:
            basis = recommender.basis_for(person, ListRequest(1), pin, bundle, state)
            scored = score(basis.view, basis.allowed, basis.fallback, basis.nameable, most_own=None)
        weights = item_weights(scored, state, pin.as_of)
        items = catalogue.items(weights.numbers.tolist())
        return PersonAffinities(by_key(weights, [key_of(item, by) for item in items], first), weights.probable)


def key_of(item: Item | None, by: Dimension) -> str | None:
    """The last, most specific category of an item, or its brand."""
    if item is None:
        return None
    if by is Dimension.BRAND:
        return item.brand
    return item.categories[-1] if item.categories else None
