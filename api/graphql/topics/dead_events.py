"""Dead events: events that could not be stored. They are listed, replayed and discarded here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

import strawberry

from api.graphql.context import Info
from api.graphql.types.batches import BatchPayload
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.event_types import EventType
from api.graphql.types.permissions import requires
from api.graphql.types.viewers import recorded_name
from db import dead_events as stored
from db.dead_events import DeadReason, DeadState, list_dead_events
from engine.cursors import read_cursor, write_cursor
from engine.dead_events import deciding as dead_events

strawberry.enum(
    DeadReason,
    description="Why an event could not be stored. CONFLICT: another event has its source, id and occurredAt."
    " INVALID: it does not fit the event contract. UNSTORABLE: Postgres refuses it. CRASHED: the worker process"
    " crashed on every attempt. FAILED: its task failed. UNREADABLE: its message cannot be read. UNKNOWN_TASK: no"
    " worker knows the task of its message.",
)
strawberry.enum(
    DeadState,
    description="The state of a dead event. DEAD: nothing was decided about it yet. REPLAYED: it was sent to the queue"
    " again. DISCARDED: its content was deleted.",
)

Ids = Annotated[list[strawberry.ID], strawberry.argument(description="The ids of the dead events, at most 500.")]


@strawberry.type(description="An event that could not be stored, or a message whose events cannot be separated.")
class DeadEvent:
    """One dead event. Its personal data needs the scope events:admin."""

    record: strawberry.Private[stored.DeadEvent]

    id: strawberry.ID = strawberry.field(
        description="The id of the dead event. It is not the id of the event: see `eventId`."
    )
    died_at: datetime = strawberry.field(description="When it became a dead event, the last time.")
    reason: DeadReason = strawberry.field(description="Why it could not be stored.")
    message: str = strawberry.field(description="Why it could not be stored, as a sentence for people.")
    attempts: int = strawberry.field(description="How many times storing it was attempted.")
    state: DeadState = strawberry.field(description="Whether it was replayed, discarded or neither.")
    decided_at: datetime | None = strawberry.field(description="When it was replayed or discarded; null before.")
    decision: str | None = strawberry.field(description="The reason given when it was discarded; null otherwise.")
    task: str | None = strawberry.field(description="The task that its message was for; null when unknown.")
    source: str | None = strawberry.field(description="The source of the event; null when it cannot be read.")
    event_id: strawberry.ID | None = strawberry.field(description="The id of the event; null when it cannot be read.")
    occurred_at: datetime | None = strawberry.field(description="When the event occurred; null when it cannot be read.")
    type: EventType | None = strawberry.field(description="The type of the event; null when it cannot be read.")

    @classmethod
    def of(cls, record: stored.DeadEvent) -> Self:
        """The public shape of a dead event."""
        return cls(
            record=record,
            id=strawberry.ID(str(record.id)),
            died_at=record.died_at,
            reason=DeadReason(record.reason),
            message=record.detail,
            attempts=record.attempts,
            state=record.state,
            decided_at=record.decided_at,
            decision=record.decision,
            task=record.task,
            source=record.source,
            event_id=None if record.event_id is None else strawberry.ID(record.event_id),
            occurred_at=record.occurred_at,
            type=EventType.__members__.get(record.event_type or ""),
        )

    @strawberry.field(
        permission_classes=[requires("events:admin")],
        description="The client, and the person if any, that replayed or discarded it; null before.",
    )
    def decided_by(self) -> str | None:
        """The client, and the person if any."""
        return self.record.decided_by

    @strawberry.field(
        permission_classes=[requires("events:admin")],
        description="The id of the signed-in person the event is about; null otherwise.",
    )
    def user_id(self) -> strawberry.ID | None:
        """The user's id."""
        return None if self.record.user_id is None else strawberry.ID(self.record.user_id)

    @strawberry.field(
        permission_classes=[requires("events:admin")],
        description="The anonymous id of the guest the event is about; null otherwise.",
    )
    def anonymous_id(self) -> strawberry.ID | None:
        """The guest's id."""
        return None if self.record.anonymous_id is None else strawberry.ID(self.record.anonymous_id)

    @strawberry.field(
        permission_classes=[requires("events:admin")],
        description="The event's JSON, or the body of its message, with bytes that are not UTF-8 escaped; null once"
        " it was replayed or discarded.",
    )
    async def body(self, info: Info) -> str | None:
        """The event's JSON, or the body of its message."""
        body = await info.context.dead_bodies.get(self.record.id)
        return None if body is None else body.decode(errors="backslashreplace")


@strawberry.type(description="The outcomes of `replayDeadEvents`.")
class ReplayDeadEventsPayload(BatchPayload):
    """One outcome per dead event."""


@strawberry.type(description="The outcomes of `discardDeadEvents`.")
class DiscardDeadEventsPayload(BatchPayload):
    """One outcome per dead event."""


@strawberry.type
class DeadEventQuery:
    """Queries of dead events."""

    @strawberry.field(
        permission_classes=[requires("metrics:read")],
        description="Events that could not be stored, newest first. Fields with personal data need the scope"
        " `events:admin` as well.",
    )
    async def dead_events(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        reason: Annotated[
            DeadReason | None, strawberry.argument(description="Only dead events with this reason; null for all.")
        ] = None,
        state: Annotated[
            DeadState, strawberry.argument(description="Only dead events in this state.")
        ] = DeadState.DEAD,
    ) -> Connection[DeadEvent] | None:
        """A page of dead events."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "deadEvents", after))
        records = await list_dead_events(info.context.reads, first + 1, before, reason=reason, state=state)
        edges = [
            Edge(cursor=write_cursor(gateway.signer, "deadEvents", record.id), node=DeadEvent.of(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)


@strawberry.type
class DeadEventMutation:
    """Mutations of dead events."""

    @strawberry.mutation(
        permission_classes=[requires("events:admin")],
        description="Send dead events to the queue again, each as the same event. ACCEPTED: the queue has it."
        " DUPLICATE: it was replayed or discarded before. CONFLICT: another event is stored in its place.",
    )
    async def replay_dead_events(self, info: Info, ids: Ids) -> ReplayDeadEventsPayload | None:
        """Replay dead events, one by one."""
        gateway = info.context.gateway
        by = recorded_name(info.context.viewer)
        results = await dead_events.replay(gateway.shares.bulk, gateway.broker, _strings(ids), by)
        return ReplayDeadEventsPayload(all_results=results)

    @strawberry.mutation(
        permission_classes=[requires("events:admin")],
        description="Delete the content of dead events for good. Their reason, who discarded them and why are kept.",
    )
    async def discard_dead_events(
        self,
        info: Info,
        ids: Ids,
        reason: Annotated[
            str, strawberry.argument(description="Why they are discarded, for the record: 1 to 500 characters.")
        ],
    ) -> DiscardDeadEventsPayload | None:
        """Discard dead events, one by one."""
        by = recorded_name(info.context.viewer)
        results = await dead_events.discard(info.context.gateway.shares.bulk, _strings(ids), reason, by)
        return DiscardDeadEventsPayload(all_results=results)


def _strings(ids: Sequence[strawberry.ID]) -> list[str]:
    return [str(id) for id in ids]
