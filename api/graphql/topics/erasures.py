"""`exportUser` returns everything that is stored about a user; `eraseUser` erases it and returns a receipt."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.topics.events import Event, Types, history_page
from api.graphql.types.connections import After, Connection, First
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from db import erasures as stored
from db.receipts import PersonStore, StoreState
from engine.privacy.erasing import PersonExport, erase_user, export_user, exported_events, read_erasure_id

UserId = Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the user.")]


async def all_events(
    root: Any, info: Info, types: Types = None, first: First = 20, after: After = None
) -> Connection[Event] | None:
    """A page of the exported person's events, from Postgres and from the lake."""
    context = info.context
    read = partial(exported_events, context.reads, context.gateway.archive, root.found, types)
    return await history_page(info, read, first, after)


@strawberry.type(description="Everything that is stored about one user.")
class UserExport:
    """A document, and the events in pages."""

    found: strawberry.Private[PersonExport]
    id: strawberry.ID = strawberry.field(description="The shop's own id of the user.")
    as_of: datetime = strawberry.field(description="When it was read.")
    profile: JSON = strawberry.field(
        description="Everything but the events: `traits`, `traitsUpdatedAt`, the `anonymousIds` of guests that were"
        " joined to the user, the number of `events`, the `deadEvents` that could not be stored, the requests made"
        " with the user's own token (`asked`), and the last `erasure`."
    )
    events: Connection[Event] | None = strawberry.field(
        resolver=all_events,
        permission_classes=[requires("profiles:erase")],
        description="All events of the user and of the guests that were joined to the user, newest first.",
    )


@strawberry.type(description="The outcome of `exportUser`.")
class ExportUserPayload:
    """The export, or the reason why there is none."""

    export: UserExport | None = strawberry.field(description="Everything that is stored; null when refused.")
    complete: bool = strawberry.field(
        description="Whether the export has everything. False when events of `missingMonths` are absent, while those of"
        " a merged user or a guest are still being assigned, and when it was refused."
    )
    missing_months: list[str] = strawberry.field(
        description="The months, as YYYY-MM, whose events are only in the exported files and could not be read: no"
        " lake is configured, it did not answer, or reading took too long. Asking again continues the reading."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused; empty when it was not.")


strawberry.enum(
    PersonStore,
    description="A place where data of a person may be stored. POSTGRES: users, events, identities. REDIS: the state"
    " that lists are made from. OUTBOX and QUEUE: events not stored yet. DEAD_EVENTS: events that could not be"
    " stored. REJECT_FILES: lines that an import set aside. IMPRESSIONS: lists that were shown. FORECASTS:"
    " predictions. LAKE: the exported event files. DRIFT_SAMPLES: samples kept to detect drift. BUNDLE: the model"
    " that serves.",
)
strawberry.enum(
    StoreState,
    description="The progress of an erasure in one store. PENDING: not finished; it continues in the background."
    " ERASED: the data is gone. NOTHING_HELD: there was no data.",
)


@strawberry.type(description="The progress of an erasure in one store.")
class ErasedStore:
    """One store of a receipt."""

    store: PersonStore = strawberry.field(description="The store.")
    status: StoreState = strawberry.field(description="The progress in this store.")
    at: datetime | None = strawberry.field(description="When the store was finished; null while it is pending.")
    note: str | None = strawberry.field(description="A remark for people; null when there is none.")


@strawberry.type(description="The receipt of an erasure. It does not contain the id of the person.")
class Erasure:
    """What was erased, where and when."""

    id: strawberry.ID = strawberry.field(description="The id of the receipt. Query `erasure` with it.")
    erased_at: datetime = strawberry.field(
        description="Events of the person from before this time are not stored any more."
    )
    requested_by: strawberry.ID = strawberry.field(description="The client that requested it.")
    completed_at: datetime | None = strawberry.field(description="When the last store was finished; null before.")
    stores: list[ErasedStore] = strawberry.field(
        description="The progress in every store that may contain data of a person."
    )

    @classmethod
    def of(cls, record: stored.Erasure) -> Self:
        """The public shape of a receipt."""
        return cls(
            id=strawberry.ID(str(record.id)),
            erased_at=record.erased_at,
            requested_by=strawberry.ID(record.requested_by),
            completed_at=record.completed_at,
            stores=[ErasedStore(store=store, **progress._asdict()) for store, progress in record.stores.items()],
        )


@strawberry.type(description="The outcome of `eraseUser`.")
class EraseUserPayload:
    """The receipt, or the reason why there is none."""

    erasure: Erasure | None = strawberry.field(description="The receipt; null when refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused; empty when it was not.")


@strawberry.type
class ErasureQuery:
    """Queries of receipts."""

    @strawberry.field(
        permission_classes=[requires("profiles:erase")],
        description="The receipt of an erasure, with its current progress; null when no erasure has this id. Needs a"
        " client's own token.",
    )
    async def erasure(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the receipt.")]
    ) -> Erasure | None:
        """The receipt with this id."""
        number = read_erasure_id(info.context.viewer, id)
        record = None if number is None else await info.context.erasures.get(number)
        return None if record is None else Erasure.of(record)


@strawberry.type
class ErasureMutation:
    """Mutations that export or erase a user."""

    @strawberry.mutation(
        permission_classes=[requires("profiles:erase")],
        description="Erase a user, their old ids, and the guests that were joined to the user, in every store: at"
        " once where possible, in the background where it takes until the next night or the next training. Events that"
        " occurred before are not stored, even if they arrive later; events that occur afterwards belong to a new"
        " person. Repeating it erases what was stored since, and renews the receipt. Needs a client's own token.",
    )
    async def erase_user(self, info: Info, id: UserId) -> EraseUserPayload | None:
        """Start the erasure: some stores are finished at once, the others in the background."""
        gateway = info.context.gateway
        try:
            record = await erase_user(
                gateway.shares.bulk, gateway.redis, gateway.ingest, gateway.forget, info.context.viewer, id
            )
        except InvalidInput as error:
            return EraseUserPayload(erasure=None, user_errors=[UserError.of(error)])
        return EraseUserPayload(erasure=Erasure.of(record), user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("profiles:erase")],
        description="Return everything that is stored about a user, by any of their ids, also what is only in the"
        " exported files (the lake). Needs a client's own token.",
    )
    async def export_user(self, info: Info, id: UserId) -> ExportUserPayload | None:
        """Read everything that is stored about a user."""
        try:
            found = await export_user(info.context.reads, info.context.gateway.archive, info.context.viewer, id)
        except InvalidInput as error:
            return ExportUserPayload(export=None, complete=False, missing_months=[], user_errors=[UserError.of(error)])
        export = UserExport(
            found=found, id=strawberry.ID(found.person.id), as_of=found.as_of, profile=JSON(found.profile)
        )
        missing = list(found.archived.missing)
        return ExportUserPayload(export=export, complete=found.complete, missing_months=missing, user_errors=[])
