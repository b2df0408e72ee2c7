"""`User.affinities`: the categories and brands that a person likes."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

import strawberry

from api.graphql.context import Context, Info
from api.graphql.types.connections import First, check_first
from api.graphql.types.permissions import requires_or_oneself
from core.contract import Person
from engine.explaining.affinities import Dimension, KeyAffinity, affinities_of

AffinityDimension = Annotated[Dimension, strawberry.argument(description="What the affinities are about.")]
strawberry.enum(
    Dimension,
    name="AffinityDimension",
    description="What an affinity is about. CATEGORY: the last, most specific category of an item. BRAND: its brand.",
)


@strawberry.enum(
    description="What an affinity is computed from. MODEL: the calibrated probabilities of the model that serves."
    " PURCHASES: the person's own purchases, halved every 42 days, where nothing is calibrated: without a model, and"
    " with one that has no probabilities."
)
class AffinityBasis(StrEnum):
    """What an affinity is computed from."""

    MODEL = "MODEL"
    PURCHASES = "PURCHASES"


@strawberry.type(description="How much a person likes a category or a brand.")
class Affinity:
    """How much a person likes a key."""

    key: str = strawberry.field(description="The category or the brand.")
    share: float = strawberry.field(
        description="Its part of all that the person is expected to buy, or did buy, 0 to 1. Items without a category"
        " or brand do not count."
    )
    score: float = strawberry.field(
        description="What the list is ordered by: the probability, or the purchases that are left of decay. Comparable"
        " within one list."
    )
    probability: float | None = strawberry.field(
        description="How likely the person buys at least one such item within the horizon of the model"
        " (`Model.horizon`), as if each item were bought by itself: it is a little too high where items are bought"
        " together. Null where nothing is calibrated."
    )
    basis: AffinityBasis = strawberry.field(description="What it is computed from.")

    @classmethod
    def of(cls, one: KeyAffinity, basis: AffinityBasis) -> Self:
        """The public shape."""
        return cls(key=one.key, share=one.share, score=one.score, probability=one.probability, basis=basis)


async def affinities(
    root: Any, info: Info, by: AffinityDimension = Dimension.CATEGORY, first: First = 10
) -> list[Affinity] | None:
    """What the person likes most."""
    return await affinities_at(info.context, root.person, by, first)


async def affinities_at(
    context: Context, person: Person, by: Dimension, first: int, as_of: datetime | None = None
) -> list[Affinity]:
    """What the person likes most at a moment to come; None: now."""
    found = await affinities_of(
        person, by, check_first(first), context.gateway.catalogue, context.people, context.recommender, context.turns,
        as_of=as_of,
    )  # fmt: skip
    basis = AffinityBasis.MODEL if found.by_model else AffinityBasis.PURCHASES
    return [Affinity.of(one, basis) for one in found.affinities]


AFFINITIES: Any = strawberry.field(
    resolver=affinities,
    permission_classes=[requires_or_oneself("profiles:read")],
    description="The categories or brands that this person most likely buys next, most likely first: from the same"
    " candidates and probabilities as `recommendations`. Empty for a person who never bought.",
)
