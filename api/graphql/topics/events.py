"""Events: what people do. `trackEvents` takes them in; `history` returns a person's."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Self, cast

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.planning.pure import pure
from api.graphql.topics.items import Item
from api.graphql.types.as_read import as_read
from api.graphql.types.batches import BatchPayload
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.event_types import EventType
from api.graphql.types.permissions import requires
from core import contract
from core.errors import StoreUnavailable, Unanswerable
from core.sources import named_source
from db.events import HistoryPart, HistoryPlace
from engine.cursors import read_cursor, write_cursor
from engine.signing import Signer


@strawberry.type(description="An event: something a person did, as its sender reported it.")
class Event:
    """One stored event."""

    id: strawberry.ID = strawberry.field(
        description="The id of the event: the sender's, or the one the server gave it."
    )
    source: str = strawberry.field(description="Who reported it: the client, or the source that the client named.")
    type: EventType = strawberry.field(description="The kind of the event.")
    occurred_at: datetime = strawberry.field(description="When it occurred.")
    received_at: datetime | None = strawberry.field(
        description="When the server received it; null for events that were loaded from files."
    )
    user_id: strawberry.ID | None = strawberry.field(description="The id of the user; null for a guest's event.")
    anonymous_id: strawberry.ID | None = strawberry.field(
        description="The anonymous id of the guest; null when the event has none."
    )
    item_id: strawberry.ID | None = strawberry.field(
        description="The shop's own id of the item; null when it is about none."
    )
    item_ids: list[strawberry.ID] | None = strawberry.field(
        description="The ids of the items that were visible, for an IMPRESSION."
    )
    order_id: strawberry.ID | None = strawberry.field(
        description="The order that this event is a line of; null when it is part of no order."
    )
    quantity: int | None = strawberry.field(description="The number of units; null means one.")
    unit_price: Decimal | None = strawberry.field(description="The price of one unit; null when unknown.")
    currency: str | None = strawberry.field(description="The ISO 4217 code of the prices, such as EUR.")
    value: Decimal | None = strawberry.field(
        description="The worth of the line in `currency`; for a RATING, the stars: 1 to 5."
    )
    query: str | None = strawberry.field(description="The search text, for a SEARCH.")
    impression_id: strawberry.ID | None = strawberry.field(
        description="The `impressionId` of the list that led to the event; null when unknown."
    )
    session_id: strawberry.ID | None = strawberry.field(description="The visit it belongs to; null when unknown.")
    properties: JSON | None = strawberry.field(description="Any other properties that the sender added.")

    @classmethod
    def of(cls, event: contract.Event) -> Self:
        """The public shape of a stored event."""
        return cls(**{name: getattr(event, name) for name in _SHOWN}, source=named_source(event.source))

    @strawberry.field(description="The item of the event; null when it is not in the catalogue.")
    @pure
    def item(self, info: Info) -> Item | None:
        """The live item of the event."""
        return None if self.item_id is None else Item.live(info.context.gateway.catalogue, self.item_id)


_SHOWN: Final = tuple(name for name in contract.Event.model_fields if name != "source")


Types = Annotated[
    list[EventType] | None, strawberry.argument(description="Only events of these types; null for all types.")
]
ReadEvents = Callable[[HistoryPlace | None, int], Awaitable[list[contract.Event]]]  # before a place, at most so many


async def history(
    root: Any, info: Info, types: Types = None, first: First = 20, after: After = None
) -> Connection[Event] | None:
    """A page of the person's events, newest first: the resolver of a field of any object that has a `person`."""
    wanted = None if types is None else tuple(types)

    async def read(before: HistoryPlace | None, limit: int) -> list[contract.Event]:
        return await info.context.histories.get(HistoryPart(root.person, wanted, before, limit)) or []

    return await history_page(info, read, first, after)


async def history_page(info: Info, read: ReadEvents, first: int, after: str | None) -> Connection[Event]:
    """A page of the events that `read` returns. Raises Unanswerable when they cannot be read."""
    gateway, first = info.context.gateway, check_first(first)
    before = None if after is None else _read_place(gateway.signer, after)
    try:
        events = await read(before, first + 1)
    except StoreUnavailable as error:
        raise Unanswerable(error.store, "The history cannot be read now. Try again later.") from error
    edges = [Edge(cursor=_write_place(gateway.signer, event), node=Event.of(event)) for event in events[:first]]
    return Connection.of(edges, after, more=len(events) > first)


def _write_place(signer: Signer, event: contract.Event) -> str:
    return write_cursor(signer, "history", [event.occurred_at.isoformat(), event.source, event.id])


def _read_place(signer: Signer, cursor: str) -> HistoryPlace:
    occurred_at, source, id = read_cursor(signer, "history", cursor)
    return HistoryPlace(datetime.fromisoformat(occurred_at), source, id)


@as_read
@strawberry.input(
    description="An event to report. It needs a `userId` or an `anonymousId`. An `id` needs its `occurredAt`; the"
    " server sets what is left out. The item need not be in the catalogue yet."
)
class EventInput:
    """An event as its sender reports it. Each event is checked against the contract after GraphQL has read it."""

    type: EventType = strawberry.field(description="The kind of the event.")
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The sender's own id of the event. Sending the same event again is a DUPLICATE and changes"
        " nothing.",
    )
    source: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The system whose ids these are, such as a till; left out: the client itself. A person's token may"
        " name no other. No client and no person shares a source with another one.",
    )
    occurred_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="When it occurred; left out: now. At most 5 minutes in the future. With a person's token at most 90"
        " days ago, with a client's own token at most 10 years, unless the server is set up otherwise.",
    )
    user_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The id of the user; left out: the user of the token."
    )
    anonymous_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The anonymous id of the guest; left out: the guest of the token."
    )
    item_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The shop's own id of the item; required by all types but SEARCH and IMPRESSION.",
    )
    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The ids of the items that were visible, 1 to 500; required by IMPRESSION.",
    )
    order_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The order that this event is a line of. Lines with the same order id count as one order.",
    )
    quantity: int | None = strawberry.field(
        default=strawberry.UNSET, description="The number of units, 1 to 1,000,000; left out: one."
    )
    unit_price: Decimal | None = strawberry.field(
        default=strawberry.UNSET,
        description="The price of one unit, not negative, at most 4 decimal places. Times the quantity it is at most"
        " 100,000,000,000.",
    )
    currency: str | None = strawberry.field(
        default=strawberry.UNSET, description="The ISO 4217 code of the prices, such as EUR."
    )
    value: Decimal | None = strawberry.field(
        default=strawberry.UNSET,
        description="The worth of the line when `unitPrice` is not given; for a RATING, the stars: 1 to 5.",
    )
    query: str | None = strawberry.field(default=strawberry.UNSET, description="The search text; required by SEARCH.")
    impression_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The `impressionId` of the list that led to the event. An event with any other text is REJECTED"
        " with the code UNKNOWN_IMPRESSION.",
    )
    session_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The visit it belongs to."
    )
    properties: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Any other properties: a JSON object of at most 10,000 bytes."
    )


@strawberry.type(description="The outcomes of `trackEvents`.")
class TrackEventsPayload(BatchPayload):
    """One outcome per event."""


@strawberry.type
class EventMutation:
    """Mutations of events."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Report events, at most 500 per call. PURCHASE and RETURN need the scope `orders:write` as well. An"
        " ACCEPTED event survives the crash of any single server, and the person's next list takes it into account.",
    )
    async def track_events(
        self,
        info: Info,
        events: Annotated[list[EventInput], strawberry.argument(description="The events, in any order.")],
    ) -> TrackEventsPayload | None:
        """Check, store and acknowledge events, one by one."""
        context = info.context
        as_read = cast(list[Mapping[str, Any]], events)  # see `as_read`
        return TrackEventsPayload(all_results=await context.gateway.ingest.track(context.viewer, as_read))
