"""Dead events: what could not be stored, why, and what is to become of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

import strawberry

import api.graphql.topics.events  # noqa: F401 -- declares the enum EventType
from api.graphql.context import Info
from api.graphql.topics.jobs import named
from api.graphql.topics.models import After, First
from api.graphql.types.batches import BatchPayload
from api.graphql.types.paging import PageInfo, check_first, read_cursor, write_cursor
from api.graphql.types.permissions import requires
from core.contract import EventType
from db import dead_events as stored
from db.dead_events import DeadReason, DeadState, bodies_of_dead_events, list_dead_events
from engine.dead_events import deciding as dead_events

strawberry.enum(
    DeadReason,
    description="Why an event could not be stored: CONFLICT another one has its source, id and occurredAt; INVALID it"
    " does not fit the contract; UNSTORABLE Postgres refuses it; CRASHED it ended its worker's process each time;"
    " FAILED its task failed; UNREADABLE its message cannot be read; UNKNOWN_TASK no worker knows its message's task.",
)
strawberry.enum(DeadState, description="What was decided about a dead event: DEAD while nothing was.")

Ids = Annotated[list[strawberry.ID], strawberry.argument(description="Their numbers, at most 500.")]


@strawberry.type(description="An event that could not be stored, or a message whose events cannot be told apart.")
class DeadEvent:
    """One dead event; what is personal about it needs the right to decide."""

    record: strawberry.Private[stored.DeadEvent]

    id: strawberry.ID = strawberry.field(description="Its number among the dead.")
    died_at: datetime = strawberry.field(description="When it died, the last time.")
    reason: DeadReason = strawberry.field(description="Why, for programs.")
    message: str = strawberry.field(description="Why, for people.")
    attempts: int = strawberry.field(description="How often it was tried.")
    state: DeadState = strawberry.field(description="What was decided about it.")
    decided_at: datetime | None = strawberry.field(description="When that was decided.")
    decision: str | None = strawberry.field(description="Why it was discarded.")
    task: str | None = strawberry.field(description="The task its message was for.")
    source: str | None = strawberry.field(description="The event's source, as far as it can be read.")
    event_id: strawberry.ID | None = strawberry.field(description="The event's id, as far as it can be read.")
    occurred_at: datetime | None = strawberry.field(description="When it happened, as far as it can be read.")
    type: EventType | None = strawberry.field(description="What was done, as far as it can be read.")

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

    @strawberry.field(permission_classes=[requires("events:admin")], description="Who decided.")
    def decided_by(self) -> str | None:
        """A client, and the person it spoke for."""
        return self.record.decided_by

    @strawberry.field(permission_classes=[requires("events:admin")], description="The signed-in person it is about.")
    def user_id(self) -> strawberry.ID | None:
        """Whose it is."""
        return None if self.record.user_id is None else strawberry.ID(self.record.user_id)

    @strawberry.field(permission_classes=[requires("events:admin")], description="The guest it is about.")
    def anonymous_id(self) -> strawberry.ID | None:
        """Which guest's it is."""
        return None if self.record.anonymous_id is None else strawberry.ID(self.record.anonymous_id)

    @strawberry.field(
        permission_classes=[requires("events:admin")],
        description="What came, bytes that are no text escaped; null once it was replayed or discarded.",
    )
    async def body(self, info: Info) -> str | None:
        """The event's JSON, or the message's body."""
        bodies = await bodies_of_dead_events(info.context.gateway.pool, [self.record.id])
        return bodies[self.record.id].decode(errors="backslashreplace") if bodies else None


@strawberry.type(description="A dead event in a list.")
class DeadEventEdge:
    """A dead event and its place."""

    cursor: str = strawberry.field(description="Its place in the list.")
    node: DeadEvent = strawberry.field(description="The dead event.")


@strawberry.type(description="Dead events, newest first.")
class DeadEventConnection:
    """A page of dead events."""

    edges: list[DeadEventEdge] = strawberry.field(description="The dead events with their places.")
    nodes: list[DeadEvent] = strawberry.field(description="The dead events alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.type(description="What became of the dead events that were to be replayed.")
class ReplayDeadEventsPayload(BatchPayload):
    """The outcomes of a replay."""


@strawberry.type(description="What became of the dead events that were to be discarded.")
class DiscardDeadEventsPayload(BatchPayload):
    """The outcomes of a discarding."""


@strawberry.type
class DeadEventQuery:
    """What could not be stored."""

    @strawberry.field(
        permission_classes=[requires("metrics:read")],
        description="What could not be stored, newest first. Whose it is, what came and who decided needs"
        " `events:admin` as well.",
    )
    async def dead_events(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        reason: Annotated[DeadReason | None, strawberry.argument(description="Leave out all but these.")] = None,
        state: Annotated[
            DeadState, strawberry.argument(description="Those about which this was decided.")
        ] = DeadState.DEAD,
    ) -> DeadEventConnection | None:
        """A page of the dead events."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "deadEvents", after))
        records = await list_dead_events(gateway.pool, first + 1, before, reason=reason, state=state)
        edges = [
            DeadEventEdge(cursor=write_cursor(gateway.signer, "deadEvents", record.id), node=DeadEvent.of(record))
            for record in records[:first]
        ]
        page_info = PageInfo.around([edge.cursor for edge in edges], after, more=len(records) > first)
        return DeadEventConnection(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)


@strawberry.type
class DeadEventMutation:
    """What becomes of dead events is decided here."""

    @strawberry.mutation(
        permission_classes=[requires("events:admin")],
        description="Send dead events through the queue once more, each as the same event: ACCEPTED when the queue has"
        " it, DUPLICATE when it was decided about before, CONFLICT when another event is stored in its place.",
    )
    async def replay_dead_events(self, info: Info, ids: Ids) -> ReplayDeadEventsPayload | None:
        """Replay some, one by one."""
        gateway = info.context.gateway
        told = await dead_events.replay(gateway.pool, gateway.broker, _strings(ids), named(info.context.viewer))
        return ReplayDeadEventsPayload(told=told)

    @strawberry.mutation(
        permission_classes=[requires("events:admin")],
        description="Delete what came of dead events for good; that they died, who discarded them and why is kept.",
    )
    async def discard_dead_events(
        self,
        info: Info,
        ids: Ids,
        reason: Annotated[str, strawberry.argument(description="Why, for the record.")],
    ) -> DiscardDeadEventsPayload | None:
        """Discard some, one by one."""
        told = await dead_events.discard(info.context.gateway.pool, _strings(ids), reason, named(info.context.viewer))
        return DiscardDeadEventsPayload(told=told)


def _strings(ids: Sequence[strawberry.ID]) -> list[str]:
    return [str(id) for id in ids]
