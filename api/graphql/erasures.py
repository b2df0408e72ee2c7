"""`exportUser`: everything that is held of one person."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from api.erasing import export_user
from api.graphql.context import Info
from api.graphql.errors import UserError
from api.graphql.events import EventConnection, history
from api.graphql.permissions import requires
from core.contract import Person
from core.errors import InvalidInput

UserId = Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the user.")]


@strawberry.type(description="Everything that is held of one person.")
class UserExport:
    """What is held: a document, and the events by pages."""

    person: strawberry.Private[Person]
    id: strawberry.ID = strawberry.field(description="The shop's own id of the user.")
    as_of: datetime = strawberry.field(description="When it was looked up.")
    profile: JSON = strawberry.field(
        description="All but the events: `traits`, `traitsUpdatedAt`, the `anonymousIds` of the guests the user was,"
        " how many `events` there are, and what the user's own token `asked` for."
    )
    events: EventConnection | None = strawberry.field(
        resolver=history,
        permission_classes=[requires("profiles:erase")],
        description="All events, newest first, those of the guests the user was among them.",
    )


@strawberry.type(description="What is held of the person, or why that was not looked up.")
class ExportUserPayload:
    """What became of an export."""

    export: UserExport | None = strawberry.field(description="What is held; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was.")


@strawberry.type
class ErasureMutation:
    """What is held of a person is asked for here."""

    @strawberry.mutation(
        permission_classes=[requires("profiles:erase")],
        description="Everything that is held of a user, for a person who asks for it. Only by a client's own token.",
    )
    async def export_user(self, info: Info, id: UserId) -> ExportUserPayload | None:
        """Look up what is held."""
        try:
            found = await export_user(info.context.gateway, info.context.viewer, id)
        except InvalidInput as error:
            return ExportUserPayload(export=None, user_errors=[UserError.of(error)])
        export = UserExport(
            person=found.person, id=strawberry.ID(found.person.id), as_of=found.as_of, profile=JSON(found.profile)
        )
        return ExportUserPayload(export=export, user_errors=[])
