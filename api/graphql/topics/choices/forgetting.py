"""`forget`: people erase everything that is stored about them, with their own token."""

from datetime import datetime
from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from engine.privacy.erasing import erase_person
from engine.privacy.forgetting import NotConfirmed, ask_to_forget, check_confirmed


@strawberry.type(description="The outcome of `forget`: what to confirm, or when the person was erased.")
class ForgetPayload:
    """A confirmation, an erasure, or why there is neither."""

    confirmation: str | None = strawberry.field(
        default=None,
        description="After the first step: what to send in the second one, with a newer token of the person.",
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="Until when the confirmation can be sent; null without one."
    )
    erased_at: datetime | None = strawberry.field(
        default=None,
        description="After the second step: events of the person from before this time are not stored any more.",
    )
    receipt_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="After the second step: the id of the receipt. It names nobody; the shop's own client reads with"
        " it how far the erasure is, see `Query.erasure`.",
    )
    user_errors: list[UserError] = strawberry.field(
        description="Why nobody was erased; empty when all went well. NOT_CONFIRMED: the confirmation is wrong, too"
        " old, of another person, or was sent with the token that asked for it."
    )


@strawberry.type
class ForgetMutation:
    """The mutation by which people erase themselves."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Erase everything that is stored about the person of the token, as `eraseUser` does. It takes two"
        " steps. Without `confirmation` nothing is erased: the answer has one. Show the person what they are about to"
        " do, get a newer access token of theirs, and send the confirmation with that. A guest is erased alone; a user"
        " with all old ids and joined guests. Needs a person's own token.",
    )
    async def forget(
        self,
        info: Info,
        confirmation: Annotated[
            str | None,
            strawberry.argument(description="What the first step answered, at most ten minutes ago; null: that step."),
        ] = None,
    ) -> ForgetPayload | None:
        """Ask for a confirmation, or erase the person."""
        gateway, viewer = info.context.gateway, info.context.viewer
        if confirmation is None:
            asked = ask_to_forget(gateway.signer, viewer)
            return ForgetPayload(confirmation=asked.text, expires_at=asked.expires_at, user_errors=[])
        try:
            person = check_confirmed(gateway.signer, viewer, confirmation)
        except NotConfirmed as error:
            return ForgetPayload(user_errors=[UserError.of(error, "NOT_CONFIRMED")])
        record = await erase_person(
            gateway.shares.bulk, gateway.redis, gateway.ingest, gateway.forget, person, viewer.client_id
        )
        info.context.read_people_again()
        return ForgetPayload(erased_at=record.erased_at, receipt_id=strawberry.ID(str(record.id)), user_errors=[])
