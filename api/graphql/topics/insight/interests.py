"""`User.interests`: what a person seems to be interested in, in words for them."""

import asyncio
from typing import Annotated, Any

import strawberry

from api.graphql.context import Info
from api.graphql.topics.events import Event
from api.graphql.topics.insight.affinities import AffinityDimension
from api.graphql.types.connections import First, check_first
from api.graphql.types.permissions import requires_or_oneself
from core.contract import Person
from engine.choices.interests import interests_of
from engine.explaining.affinities import Dimension
from engine.reasons.texts import ReasonTexts

MOST_EVENTS = 3
PRIVATE = requires_or_oneself("profiles:read")
Language = Annotated[
    str | None,
    strawberry.argument(description="The BCP 47 tag of the wanted language, as for `Reason.text`; null for English."),
]


@strawberry.type(description="Something that a person seems to be interested in.")
class Interest:
    """A category or a brand, and where it comes from."""

    key: str = strawberry.field(
        description="The category or the brand. A category can be hidden with `hideCategory`: then it is no interest."
    )
    share: float | None = strawberry.field(
        description="Its part of all that the person is expected to buy, or did buy, 0 to 1, as in `Affinity.share`."
        " Null where they only looked at it."
    )
    items: strawberry.Private[tuple[str, ...]]
    person: strawberry.Private[Person]
    texts: strawberry.Private[ReasonTexts]

    @strawberry.field(description="The interest as a short sentence to show to the person. It is plain text.")
    def text(self, language: Language = None) -> str:
        """The interest in words."""
        said = "INTEREST_VIEWED" if self.share is None else "INTEREST_BOUGHT"
        return self.texts.text(said, language, self.key, "")

    @strawberry.field(
        permission_classes=[PRIVATE],
        description="The person's own newest events that it comes from, at most three, newest first.",
    )
    async def because(self, info: Info) -> list[Event] | None:
        """The events behind the interest."""
        evidence = info.context.evidence(self.person)
        found = await asyncio.gather(*(evidence.get(id) for id in self.items))
        events = [event for of_item in found for event in of_item or ()]
        newest = sorted(events, key=lambda event: event.occurred_at, reverse=True)
        return [Event.of(event) for event in newest[:MOST_EVENTS]]


async def interests(
    root: Any, info: Info, by: AffinityDimension = Dimension.CATEGORY, first: First = 10
) -> list[Interest] | None:
    """What the person seems to be interested in."""
    context = info.context
    found = await interests_of(
        root.person, by, check_first(first), context.gateway.catalogue, context.people, context.recommender,
        context.turns,
    )  # fmt: skip
    texts = context.gateway.reason_texts
    return [Interest(key=one.key, share=one.share, items=one.items, person=root.person, texts=texts) for one in found]


INTERESTS: Any = strawberry.field(
    resolver=interests,
    permission_classes=[PRIVATE],
    description="What this person seems to be interested in, to show it to them: first what they buy, the most likely"
    " first, then what they only looked at. Hidden categories are left out; during a pause it is empty.",
)
