"""Fields of User: what the person hid, and whether they paused personal lists."""

from typing import Any

import strawberry

from api.graphql.context import Info
from api.graphql.topics.items import Item
from api.graphql.types.connections import First, check_first
from api.graphql.types.permissions import requires_or_oneself
from core.choices import Choices
from core.contract import Person
from core.errors import Unanswerable
from engine.recommending.people import Degradation

PRIVATE = requires_or_oneself("profiles:read")


@strawberry.type(description="What a person hid from their own lists.")
class HiddenChoices:
    """Hidden items and categories."""

    choices: strawberry.Private[Choices]
    item_ids: list[strawberry.ID] = strawberry.field(
        description="The ids of all hidden items, at most 500, the last one hidden first. The catalogue may lack some."
    )
    categories: list[str] = strawberry.field(
        description="All hidden categories, at most 100, the last one hidden first."
    )

    @classmethod
    def of(cls, choices: Choices) -> "HiddenChoices":
        """The public shape."""
        return cls(
            choices=choices,
            item_ids=[strawberry.ID(id) for id in reversed(choices.items)],
            categories=list(reversed(choices.categories)),
        )

    @strawberry.field(description="The hidden items that the catalogue has now, the last one hidden first.")
    def items(self, info: Info, first: First = 20) -> list[Item]:
        """Hidden items, to show them on a page of settings."""
        catalogue = info.context.gateway.catalogue
        numbers = catalogue.numbers_of(reversed(self.choices.items))[: check_first(first)].tolist()
        return [Item.of(item) for item in catalogue.items(numbers) if item is not None]


async def hidden(root: Any, info: Info) -> HiddenChoices | None:
    """What the person hid."""
    return HiddenChoices.of(await _choices_of(info, root.person))


async def paused(root: Any, info: Info) -> bool | None:
    """Whether the person's lists are paused."""
    return (await _choices_of(info, root.person)).paused_since is not None


async def _choices_of(info: Info, person: Person) -> Choices:
    found = await info.context.people.state(person)
    if Degradation.NO_HISTORY in found.degraded and not found.state.choices.version:
        raise Unanswerable("postgres", "What the person chose cannot be read right now.")
    return found.state.choices


HIDDEN: Any = strawberry.field(
    resolver=hidden,
    permission_classes=[PRIVATE],
    description="What the person hid: it is in none of their lists. See `hideItem` and `hideCategory`.",
)
PAUSED: Any = strawberry.field(
    resolver=paused,
    permission_classes=[PRIVATE],
    description="Whether the person wants lists as if nothing were known of them. See `pausePersonalization`.",
)
