"""Events: what people did, told by `trackEvents`, read back as a person's history."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Self, cast

import strawberry
from strawberry.scalars import JSON
from strawberry.types import get_object_definition
from strawberry.types.arguments import InputContext

from api.graphql.context import Info
from api.graphql.topics.items import Item
from api.graphql.types.batches import BatchPayload
from api.graphql.types.paging import PageInfo, check_first, read_cursor, write_cursor
from api.graphql.types.permissions import requires
from core import contract
from core.contract import EventType
from core.errors import StoreUnavailable, Unanswerable
from db.events import HistoryPlace, events_of_person
from engine.signing import Signer

strawberry.enum(EventType, description="What a person did.")


@strawberry.type(description="Something a person did.")
class Event:
    """One event, as its sender told it."""

    id: strawberry.ID = strawberry.field(description="The sender's id, or the one it was given.")
    source: str = strawberry.field(description="Who told us: the client, unless it named a source of its own.")
    type: EventType = strawberry.field(description="What was done.")
    occurred_at: datetime = strawberry.field(description="When it was done.")
    received_at: datetime | None = strawberry.field(description="When we heard; null for history that was loaded.")
    user_id: strawberry.ID | None = strawberry.field(description="The signed-in person.")
    anonymous_id: strawberry.ID | None = strawberry.field(description="The guest.")
    item_id: strawberry.ID | None = strawberry.field(description="The shop's id of the item.")
    item_ids: list[strawberry.ID] | None = strawberry.field(description="The items that were visible.")
    order_id: strawberry.ID | None = strawberry.field(description="The order this line belongs to.")
    quantity: int | None = strawberry.field(description="How many; one where it does not say.")
    unit_price: Decimal | None = strawberry.field(description="Price of one.")
    currency: str | None = strawberry.field(description="ISO 4217 code of the prices.")
    value: Decimal | None = strawberry.field(description="Worth of the line, or the rating.")
    query: str | None = strawberry.field(description="What was searched for.")
    impression_id: strawberry.ID | None = strawberry.field(description="The list it came from.")
    session_id: strawberry.ID | None = strawberry.field(description="The visit it belongs to.")
    properties: JSON | None = strawberry.field(description="Whatever else the sender said.")

    @classmethod
    def of(cls, event: contract.Event) -> Self:
        """The public shape of a stored event."""
        return cls(**{name: getattr(event, name) for name in _SHOWN})

    @strawberry.field(description="The item, when it is in the catalogue.")
    def item(self, info: Info) -> Item | None:
        """The live item the event is about."""
        return None if self.item_id is None else Item.live(info.context.gateway.catalogue, self.item_id)


_SHOWN: Final = tuple(contract.Event.model_fields)


@strawberry.type(description="An event in a history.")
class EventEdge:
    """An event and its place."""

    cursor: str = strawberry.field(description="Its place in the history.")
    node: Event = strawberry.field(description="The event.")


@strawberry.type(description="A page of a person's history, newest first.")
class EventConnection:
    """Events, newest first."""

    edges: list[EventEdge] = strawberry.field(description="The events with their places.")
    nodes: list[Event] = strawberry.field(description="The events alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


async def history(
    root: Any,
    info: Info,
    types: Annotated[list[EventType] | None, strawberry.argument(description="Leave out all but these.")] = None,
    first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
    after: Annotated[str | None, strawberry.argument(description="`endCursor` of the page before.")] = None,
) -> EventConnection | None:
    """Resolver of a field of anything with a `person`: what they did, newest first."""
    gateway, first = info.context.gateway, check_first(first)
    before = None if after is None else _read_place(gateway.signer, after)
    try:
        events = await events_of_person(gateway.pool, root.person, types, before, first + 1)
    except StoreUnavailable as error:
        raise Unanswerable(error.store, "The history cannot be read just now.") from error
    edges = [EventEdge(cursor=_write_place(gateway.signer, event), node=Event.of(event)) for event in events[:first]]
    return EventConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(
            has_next_page=len(events) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def _write_place(signer: Signer, event: contract.Event) -> str:
    return write_cursor(signer, "history", [event.occurred_at.isoformat(), event.source, event.id])


def _read_place(signer: Signer, cursor: str) -> HistoryPlace:
    occurred_at, source, id = read_cursor(signer, "history", cursor)
    return HistoryPlace(datetime.fromisoformat(occurred_at), source, id)


@strawberry.input(
    description="Something a person did. An `id` of the sender needs its `occurredAt`; with neither, both are minted."
    " The item need not be in the catalogue yet."
)
class EventInput:
    """An event as a sender tells it; judged one by one, after GraphQL's own reading."""

    type: EventType = strawberry.field(description="What was done.")
    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The sender's own id: the same id and time again change nothing."
    )
    source: str | None = strawberry.field(
        default=strawberry.UNSET, description="Whose ids these are; the client's own id unless given."
    )
    occurred_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When it was done: since 1990, at most 5 minutes ahead."
    )
    user_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The signed-in person; the token's own unless given."
    )
    anonymous_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The guest; the token's own unless given."
    )
    item_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The item; needed by all types but SEARCH and IMPRESSION."
    )
    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="The items that were visible; needed by IMPRESSION, 1 to 500."
    )
    order_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The order this line belongs to: orders are counted by it."
    )
    quantity: int | None = strawberry.field(
        default=strawberry.UNSET, description="How many, 1 to 1,000,000; one unless given."
    )
    unit_price: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="Price of one, not negative, at most 4 decimal places."
    )
    currency: str | None = strawberry.field(default=strawberry.UNSET, description="ISO 4217 code of the prices.")
    value: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="Worth of the line where no price is given; the rating of a RATING."
    )
    query: str | None = strawberry.field(
        default=strawberry.UNSET, description="What was searched for; needed by SEARCH."
    )
    impression_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The list it came from."
    )
    session_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The visit it belongs to."
    )
    properties: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Whatever else there is to say: a JSON object of at most 10,000 bytes."
    )


def _as_read(_: type, said: Mapping[str, Any], __: InputContext) -> Mapping[str, Any]:
    """What graphql-core read, under the names of the contract. An object of each event costs ten times the judging."""
    return said


get_object_definition(EventInput, strict=True).from_input = _as_read


@strawberry.type(description="What became of the events of a `trackEvents`.")
class TrackEventsPayload(BatchPayload):
    """The outcomes of a call's events."""


@strawberry.type
class EventMutation:
    """What happens is told here."""

    @strawberry.mutation(
        permission_classes=[requires("events:write")],
        description="Tell what people did, at most 500 events a call; PURCHASE and RETURN need `orders:write` as well."
        " An ACCEPTED event survives any single crash, and the person's next answer knows of it.",
    )
    async def track_events(
        self,
        info: Info,
        events: Annotated[list[EventInput], strawberry.argument(description="What happened, in any order.")],
    ) -> TrackEventsPayload | None:
        """Judge, keep and acknowledge events, one by one."""
        context = info.context
        told = await context.gateway.ingest.track(context.viewer, cast(list[Mapping[str, Any]], events))  # `_as_read`
        return TrackEventsPayload(told=told)
