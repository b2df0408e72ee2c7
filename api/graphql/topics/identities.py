"""`identify`: the events of a guest become those of a user."""

from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.people import User
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from engine.privacy.identifying import GuestTaken, NotYours, identify


@strawberry.input(description="A guest, and the user they are now known to be.")
class IdentifyInput:
    """A guest and a user."""

    user_id: strawberry.ID = strawberry.field(
        description="The shop's id of the user. With a person's own token: that person."
    )
    anonymous_id: strawberry.ID = strawberry.field(description="The anonymous id of the guest.")
    anonymous_token: str | None = strawberry.field(
        default=None,
        description="An access token of that guest, issued to the same client. Required with a person's own token, as"
        " proof; not needed with a client's own token.",
    )


@strawberry.type(description="The user a guest was joined to, or why they were not joined.")
class IdentifyPayload:
    """The outcome of `identify`."""

    user: User | None = strawberry.field(description="The user, who now has the guest's events; null when refused.")
    user_errors: list[UserError] = strawberry.field(
        description="Why they were not joined; empty when they were. NOT_YOURS: the token may not act for both."
        " CONFLICT: the guest is already joined to another user. BAD_USER_INPUT: an id is not valid."
    )


@strawberry.type
class IdentityMutation:
    """Mutations of identities."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Join a guest to a user: the guest's events, also those still in the queue, become the user's."
        " Doing it again changes nothing. A client's own token needs `profiles:write` as well and may join any guest"
        " to any user. A person's own token may join a guest to that person only, and needs the guest's token.",
    )
    async def identify(
        self, info: Info, input: Annotated[IdentifyInput, strawberry.argument(description="The guest and the user.")]
    ) -> IdentifyPayload | None:
        """Join a guest to a user, or return the reason why not."""
        gateway, viewer = info.context.gateway, info.context.viewer
        try:
            user = await identify(
                gateway.shares.bulk,
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
