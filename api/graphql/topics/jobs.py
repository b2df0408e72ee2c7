"""Trainings: asked for here, carried out by a trainer, watched until their end."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

import strawberry
import structlog

from api.graphql.context import Info
from api.graphql.topics.models import After, First
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.paging import PageInfo, check_first, read_cursor, write_cursor
from api.graphql.types.permissions import requires
from bus.messages import train
from core.contract import check_reason
from core.errors import StoreUnavailable
from db import jobs as stored
from db.jobs import AFFINITY
from engine.viewer import Viewer

log = structlog.get_logger()

MOST_DIGITS = 18  # digits


@strawberry.enum(description="How far a training is.")
class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@strawberry.type(description="A training that was asked for.")
class Job(Node):
    """One training job."""

    id: strawberry.ID = strawberry.field(description="Its number.")
    kind: str = strawberry.field(description="What is trained.")
    state: JobState = strawberry.field(description="How far it is.")
    reason: str = strawberry.field(description="Why it was asked for.")
    requested_by: str = strawberry.field(description="Who asked.")
    requested_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When a trainer took it up, the last time.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
    attempts: int = strawberry.field(description="How often a trainer took it up.")
    model_id: strawberry.ID | None = strawberry.field(
        description="The model it made; `decisions` says whether it serves."
    )
    error: str | None = strawberry.field(description="Why it failed.")

    @classmethod
    def of(cls, record: stored.Job) -> Self:
        """The public shape of a job."""
        return cls(
            node_id=node_id_of("Job", str(record.id)),
            id=strawberry.ID(str(record.id)),
            kind=record.kind,
            state=JobState(record.state),
            reason=record.reason,
            requested_by=record.requested_by,
            requested_at=record.requested_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            attempts=record.fencing_token,
            model_id=None if record.bundle is None else strawberry.ID(record.bundle),
            error=record.error,
        )


@strawberry.type(description="A training in a list.")
class JobEdge:
    """A job and its place."""

    cursor: str = strawberry.field(description="Its place in the list.")
    node: Job = strawberry.field(description="The training.")


@strawberry.type(description="Trainings, newest first.")
class JobConnection:
    """A page of jobs."""

    edges: list[JobEdge] = strawberry.field(description="The trainings with their places.")
    nodes: list[Job] = strawberry.field(description="The trainings alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.type(description="The training that was asked for.")
class RequestTrainingPayload:
    """What became of a request for a training."""

    job: Job = strawberry.field(description="It waits now, or did already; ask for it by its id.")


@strawberry.type
class JobQuery:
    """The record of trainings."""

    @strawberry.field(permission_classes=[requires("models:read")], description="The trainings, newest first.")
    async def jobs(self, info: Info, first: First = 20, after: After = None) -> JobConnection | None:
        """A page of the trainings that were asked for."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "jobs", after))
        records = await stored.list_jobs(gateway.pool, first + 1, before)
        edges = [
            JobEdge(cursor=write_cursor(gateway.signer, "jobs", record.id), node=Job.of(record))
            for record in records[:first]
        ]
        cursors = [edge.cursor for edge in edges]
        page_info = PageInfo.around(cursors, after, more=len(records) > first)
        return JobConnection(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)

    @strawberry.field(
        permission_classes=[requires("models:read")], description="One training; null when there is none by that id."
    )
    async def job(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The training's number.")]
    ) -> Job | None:
        """The training by that id."""
        return await find_job(info, id)


@strawberry.type
class JobMutation:
    """Trainings are asked for here."""

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Ask for a training; while one waits already, that one is meant. It goes on without the caller.",
    )
    async def request_training(
        self,
        info: Info,
        reason: Annotated[str, strawberry.argument(description="Why, for the record.")] = "asked for by a person",
    ) -> RequestTrainingPayload | None:
        """Queue a training and tell the trainers."""
        gateway = info.context.gateway
        job = await stored.request_once(gateway.pool, AFFINITY, check_reason(reason), named(info.context.viewer))
        try:
            await gateway.broker.publish(train(AFFINITY))
        except StoreUnavailable as error:  # the row says it all: the trainers hear of it later
            log.warning("trainers_not_told", job=job.id, error=str(error))
        return RequestTrainingPayload(job=Job.of(job))


async def find_job(info: Info, id: str) -> Job | None:
    """The training whose number is `id`."""
    if not (id.isascii() and id.isdigit() and len(id) <= MOST_DIGITS):
        return None
    record = await stored.job_by_id(info.context.gateway.pool, int(id))
    return None if record is None else Job.of(record)


def named(viewer: Viewer) -> str:
    """Who asks, for the record: the client, and the person it speaks for."""
    return viewer.client_id if viewer.person is None else f"{viewer.client_id} for {viewer.person.id}"
