"""Training jobs: requested here, run by a trainer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

import strawberry

from api.graphql.context import Info
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.permissions import requires
from api.graphql.types.viewers import recorded_name
from db import jobs as stored
from engine.cursors import read_cursor, write_cursor
from engine.models.requesting import request_training

MAX_ID_DIGITS = 18  # fits Postgres's bigint


@strawberry.enum(
    description="The state of a training job. QUEUED: no trainer has started it. RUNNING: a trainer works on it."
    " SUCCEEDED: it made a model. FAILED: it ended without a model."
)
class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@strawberry.type(description="A training job: one request to train a model.")
class Job(Node):
    """One training job."""

    id: strawberry.ID = strawberry.field(description="The id of the job.")
    kind: str = strawberry.field(description="The kind of model to train, such as affinity.")
    state: JobState = strawberry.field(description="How far the job is.")
    reason: str = strawberry.field(description="Why the training was requested.")
    requested_by: str = strawberry.field(description="The client, and the person if any, that requested it.")
    requested_at: datetime = strawberry.field(description="When it was requested.")
    started_at: datetime | None = strawberry.field(description="When a trainer last started it; null before.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null before.")
    attempts: int = strawberry.field(
        description="How many times a trainer started it, without the times it was stopped because the trainer was told"
        " to end."
    )
    model_id: strawberry.ID | None = strawberry.field(
        description="The model it made; null without one. `decisions` shows whether the model was promoted."
    )
    error: str | None = strawberry.field(description="Why it failed, or why it waits again; null otherwise.")

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
            attempts=record.fencing_token - record.stops,
            model_id=None if record.bundle is None else strawberry.ID(record.bundle),
            error=record.error,
        )


@strawberry.type(description="The outcome of `requestTraining`.")
class RequestTrainingPayload:
    """The requested job."""

    job: Job = strawberry.field(
        description="The waiting job: the new one, or the one that was already waiting. Query `job` with its id."
    )


@strawberry.type
class JobQuery:
    """Queries of training jobs."""

    @strawberry.field(permission_classes=[requires("models:read")], description="Training jobs, newest first.")
    async def jobs(self, info: Info, first: First = 20, after: After = None) -> Connection[Job] | None:
        """A page of training jobs."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "jobs", after))
        records = await stored.list_jobs(info.context.reads, first + 1, before)
        edges = [
            Edge(cursor=write_cursor(gateway.signer, "jobs", record.id), node=Job.of(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[requires("models:read")], description="One training job; null when no job has this id."
    )
    async def job(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the job.")]
    ) -> Job | None:
        """The job with this id."""
        return await find_job(info, id)


@strawberry.type
class JobMutation:
    """Mutations of training jobs."""

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Request a training. If a job is already waiting, no new job is added and the waiting one is"
        " returned. The training runs in the background.",
    )
    async def request_training(
        self,
        info: Info,
        reason: Annotated[
            str, strawberry.argument(description="Why the training is requested, for the record: 1 to 500 characters.")
        ] = "asked for by a person",
    ) -> RequestTrainingPayload | None:
        """Add a training job unless one waits, and notify the trainers."""
        gateway, viewer = info.context.gateway, info.context.viewer
        job = await request_training(gateway.shares.bulk, gateway.broker, reason, recorded_name(viewer))
        return RequestTrainingPayload(job=Job.of(job))


async def find_job(info: Info, id: str) -> Job | None:
    """The job with this id; None when there is none."""
    if not (id.isascii() and id.isdigit() and len(id) <= MAX_ID_DIGITS):
        return None
    record = await stored.job_by_id(info.context.reads, int(id))
    return None if record is None else Job.of(record)
