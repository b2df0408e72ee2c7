"""`exportUser` and `eraseUser`: everything that is held of one person, shown or erased, with a receipt."""

from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.topics.events import EventConnection, history
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.contract import Person
from core.errors import InvalidInput
from db import erasures as stored
from db.receipts import PersonStore, StoreState
from engine.privacy.erasing import erase_user, export_user, find_erasure

UserId = Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the user.")]


@strawberry.type(description="Everything that is held of one person.")
class UserExport:
    """What is held: a document, and the events by pages."""

    person: strawberry.Private[Person]
    id: strawberry.ID = strawberry.field(description="The shop's own id of the user.")
    as_of: datetime = strawberry.field(description="When it was looked up.")
    profile: JSON = strawberry.field(
        description="All but the events: `traits`, `traitsUpdatedAt`, the `anonymousIds` of the guests the user was,"
        " how many `events` there are, the `deadEvents` that could not be stored, what the user's own token"
        " `asked` for, and the last `erasure`."
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


strawberry.enum(PersonStore, description="Where something of a person may be held.")
strawberry.enum(
    StoreState,
    description="PENDING: not yet, it goes on by itself. ERASED: nothing is left. NOTHING_HELD: there was nothing.",
)


@strawberry.type(description="How far an erasure is in one store.")
class ErasedStore:
    """One store of a receipt."""

    store: PersonStore = strawberry.field(description="Which store.")
    status: StoreState = strawberry.field(description="How far it is.")
    at: datetime | None = strawberry.field(description="When that was so; null while it is pending.")
    note: str | None = strawberry.field(description="What else there is to say.")


@strawberry.type(description="The receipt of an erasure: it names nobody.")
class Erasure:
    """What was erased, where, when."""

    id: strawberry.ID = strawberry.field(description="Ask for the receipt again by it: `erasure`.")
    erased_at: datetime = strawberry.field(description="What the person did before this moment is not kept any more.")
    requested_by: strawberry.ID = strawberry.field(description="The client that asked for it.")
    completed_at: datetime | None = strawberry.field(description="When the last store was done; null until then.")
    stores: list[ErasedStore] = strawberry.field(description="Every store that could hold something.")

    @classmethod
    def of(cls, record: stored.Erasure) -> Self:
        """The public shape of a receipt."""
        return cls(
            id=strawberry.ID(str(record.id)),
            erased_at=record.erased_at,
            requested_by=strawberry.ID(record.requested_by),
            completed_at=record.completed_at,
            stores=[ErasedStore(store=store, **told._asdict()) for store, told in record.stores.items()],
        )


@strawberry.type(description="The receipt of the erasure, or why there was none.")
class EraseUserPayload:
    """What became of an erasure."""

    erasure: Erasure | None = strawberry.field(description="The receipt; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was begun.")


@strawberry.type
class ErasureQuery:
    """Receipts are asked for again here."""

    @strawberry.field(
        permission_classes=[requires("profiles:erase")],
        description="The receipt of an erasure, as it is now; null for an unknown one. Only by a client's own token.",
    )
    async def erasure(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The receipt's id.")]
    ) -> Erasure | None:
        """The receipt by that id."""
        record = await find_erasure(info.context.gateway.pool, info.context.viewer, id)
        return None if record is None else Erasure.of(record)


@strawberry.type
class ErasureMutation:
    """What is held of a person is shown or erased here."""

    @strawberry.mutation(
        permission_classes=[requires("profiles:erase")],
        description="Erase a user and the guests they were, everywhere: at once where that can be, and by itself where"
        " it takes until tonight or the next training. What they did before is not kept however late it comes; what"
        " they do afterwards is a new person's. Asked again, it erases what is there by then and renews the receipt."
        " Only by a client's own token.",
    )
    async def erase_user(self, info: Info, id: UserId) -> EraseUserPayload | None:
        """Erase, as far as it goes at once."""
        gateway = info.context.gateway
        try:
            record = await erase_user(gateway.pool, gateway.redis, gateway.ingest, info.context.viewer, id)
        except InvalidInput as error:
            return EraseUserPayload(erasure=None, user_errors=[UserError.of(error)])
        return EraseUserPayload(erasure=Erasure.of(record), user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("profiles:erase")],
        description="Everything that is held of a user, for a person who asks for it. Only by a client's own token.",
    )
    async def export_user(self, info: Info, id: UserId) -> ExportUserPayload | None:
        """Look up what is held."""
        try:
            found = await export_user(info.context.gateway.pool, info.context.viewer, id)
        except InvalidInput as error:
            return ExportUserPayload(export=None, user_errors=[UserError.of(error)])
        export = UserExport(
            person=found.person, id=strawberry.ID(found.person.id), as_of=found.as_of, profile=JSON(found.profile)
        )
        return ExportUserPayload(export=export, user_errors=[])
