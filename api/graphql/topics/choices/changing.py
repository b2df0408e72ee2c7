"""Mutations by which people choose what their own lists have: `hideItem`, `hideCategory`, `pausePersonalization`."""

from collections.abc import Callable
from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.people import User
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.choices import TooManyHidden
from core.errors import InvalidInput
from engine.choices.changing import (
    Change,
    NotYours,
    choose,
    hiding_category,
    hiding_item,
    pausing,
    showing_category,
    showing_item,
)

_CODES = {NotYours: "NOT_YOURS", TooManyHidden: "TOO_MANY"}
_WHO = (
    " A person's or a guest's own token changes their own lists. A client's own token needs `profiles:write` as well,"
    " and `userId`."
)
ItemId = Annotated[strawberry.ID, strawberry.argument(description="The id of the item.")]
Category = Annotated[str, strawberry.argument(description="The category, at most 200 characters.")]
UserId = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="The shop's own id of the user whose lists change; needed with a client's own token. Null: the"
        " person of the token."
    ),
]


@strawberry.type(description="The person whose choice was changed, or why it was not.")
class ChoicePayload:
    """The outcome of a choice."""

    user: User | None = strawberry.field(description="The person, with the choice; null when it was refused.")
    user_errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was not. NOT_YOURS: the token is of another person. TOO_MANY:"
        " the person hides as much as one person may: 500 items and 100 categories. BAD_USER_INPUT: an argument is not"
        " valid."
    )


async def _chosen(info: Info, user_id: str | None, change: Callable[[], Change]) -> ChoicePayload:
    gateway = info.context.gateway
    try:
        person = await choose(gateway.shares.bulk, gateway, info.context.viewer, user_id, change())
    except InvalidInput as error:
        return ChoicePayload(user=None, user_errors=[UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))])
    info.context.read_people_again()
    return ChoicePayload(user=User.of(person), user_errors=[])


@strawberry.type
class ChoiceMutation:
    """Mutations of what people choose for their own lists."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Hide an item: it and its variants are in none of this person's lists from now on, not even where a"
        " rule of the shop pins it, and items like it come later. `showItem` takes it back." + _WHO,
    )
    async def hide_item(self, info: Info, item_id: ItemId, user_id: UserId = None) -> ChoicePayload | None:
        """Hide an item."""
        return await _chosen(info, user_id, lambda: hiding_item(item_id))

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Show an item again that was hidden. Nothing changes when it is not hidden." + _WHO,
    )
    async def show_item(self, info: Info, item_id: ItemId, user_id: UserId = None) -> ChoicePayload | None:
        """Show an item again."""
        return await _chosen(info, user_id, lambda: showing_item(item_id))

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Hide a category: no item of it is in this person's lists from now on. `showCategory` takes it"
        " back." + _WHO,
    )
    async def hide_category(self, info: Info, category: Category, user_id: UserId = None) -> ChoicePayload | None:
        """Hide a category."""
        return await _chosen(info, user_id, lambda: hiding_category(category))

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Show the items of a category again that was hidden. Nothing changes when it is not hidden." + _WHO,
    )
    async def show_category(self, info: Info, category: Category, user_id: UserId = None) -> ChoicePayload | None:
        """Show a category again."""
        return await _chosen(info, user_id, lambda: showing_category(category))

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Pause personal lists: until it ends, this person's lists are those of somebody nobody knows, with"
        " PAUSED in `degraded`, and there are neither affinities nor forecasts. Events are still stored, for their"
        " orders; they count again when the pause ends. What is hidden stays hidden." + _WHO,
    )
    async def pause_personalization(
        self,
        info: Info,
        paused: Annotated[bool, strawberry.argument(description="True begins a pause, false ends it.")],
        user_id: UserId = None,
    ) -> ChoicePayload | None:
        """Begin or end a pause."""
        return await _chosen(info, user_id, lambda: pausing(paused))
