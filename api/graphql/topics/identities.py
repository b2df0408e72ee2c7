"""`identify`: an anonymous past is joined to a person."""

from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.people import User
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from engine.privacy.identifying import GuestTaken, NotYours, identify


@strawberry.input(description="A guest, and the user they turned out to be.")
class IdentifyInput:
    """Who was whom."""

    user_id: strawberry.ID = strawberry.field(description="The signed-in person; a person's own token names itself.")
    anonymous_id: strawberry.ID = strawberry.field(description="The guest they were.")
    anonymous_token: str | None = strawberry.field(
        default=None,
        description="An access token of that guest, from the same client: a person's own token needs it as proof."
        " A client's token does not.",
    )


@strawberry.type(description="The person a guest was joined to, or why not.")
class IdentifyPayload:
    """What became of it."""

    user: User | None = strawberry.field(description="The user, who has the guest's past now; null when refused.")
    user_errors: list[UserError] = strawberry.field(
        description="Why not: NOT_YOURS when the token does not speak for both, CONFLICT when the guest is another"
        " user already, BAD_USER_INPUT. Empty when they are joined."
    )


@strawberry.type
class IdentityMutation:
    """Guests become users here."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Join a guest's past, and what of it is still on its way, to a user. The same again is harmless."
        " A client's token needs `profiles:write` as well and may join anyone; a person's own token joins to that"
        " person alone, and shows the guest's token.",
    )
    async def identify(
        self, info: Info, input: Annotated[IdentifyInput, strawberry.argument(description="Who was whom.")]
    ) -> IdentifyPayload | None:
        """Join, or say why not."""
        gateway, viewer = info.context.gateway, info.context.viewer
        try:
            user = await identify(
                gateway.pool,
                gateway.redis,
                gateway.verifier,
                viewer,
                input.user_id,
                input.anonymous_id,
                input.anonymous_token,
            )
        except InvalidInput as error:
            return IdentifyPayload(
                user=None, user_errors=[UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))]
            )
        return IdentifyPayload(user=User.of(user), user_errors=[])


_CODES = {NotYours: "NOT_YOURS", GuestTaken: "CONFLICT"}
