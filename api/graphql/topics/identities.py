"""`identify`: the events of a guest become those of a user. `mergeUsers`: two user ids become one person."""

from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.people import User
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from engine.privacy.identifying import GuestTaken, IsUser, NotYours, identify
from engine.privacy.merging import CannotMerge, merge_users
from engine.viewer import check_client


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
        " CONFLICT: the guest is already joined to another user. IS_USER: `anonymousId` is the id of a user, so there"
        " is nothing to join; see `mergeUsers`."
        " BAD_USER_INPUT: an id is not valid."
    )


@strawberry.input(description="Two user ids that are one person.")
class MergeUsersInput:
    """An old user id, and the one that stays."""

    from_id: strawberry.ID = strawberry.field(description="The old id. It names the other user from now on.")
    into_id: strawberry.ID = strawberry.field(description="The id of the user that stays.")


@strawberry.type(description="The user that both ids are now, or why they were not merged.")
class MergeUsersPayload:
    """The outcome of `mergeUsers`."""

    user: User | None = strawberry.field(description="The user that both ids are now; null when refused.")
    user_errors: list[UserError] = strawberry.field(
        description="Why they were not merged; empty when they were. CONFLICT: an earlier merge contradicts this one,"
        " or the user has more than 1,000 old ids. BAD_USER_INPUT: an id is not valid, or both are the same."
    )


@strawberry.type
class IdentityMutation:
    """Mutations of identities."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Join a guest to a user: the guest's events, also those still in the queue, become the user's."
        " Doing it again changes nothing. Two users are joined by `mergeUsers`. A client's own token needs"
        " `profiles:write` as well and may join any guest to any user. A person's own token may join a guest to"
        " that person only, and needs the guest's token.",
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

    @strawberry.mutation(
        permission_classes=[requires("profiles:write", "events:write")],
        description="Merge two users who are one person. Everything about `fromId` counts for `intoId`: events, also"
        " those that arrive later, guests, and traits that `intoId` lacks. Both ids name the same person from now on:"
        " in queries, in `exportUser` and in `eraseUser`. Merges form chains: after a into b and b into c, a is c."
        " Doing it again changes nothing. A merge cannot be undone. Needs a client's own token.",
    )
    async def merge_users(
        self, info: Info, input: Annotated[MergeUsersInput, strawberry.argument(description="The two user ids.")]
    ) -> MergeUsersPayload | None:
        """Merge two users, or return the reason why not."""
        gateway, viewer = info.context.gateway, info.context.viewer
        check_client(viewer)
        try:
            user = await merge_users(gateway.shares.bulk, gateway.redis, input.from_id, input.into_id, viewer.client_id)
        except InvalidInput as error:
            return MergeUsersPayload(
                user=None, user_errors=[UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))]
            )
        return MergeUsersPayload(user=User.of(user), user_errors=[])


_CODES = {NotYours: "NOT_YOURS", GuestTaken: "CONFLICT", IsUser: "IS_USER", CannotMerge: "CONFLICT"}
