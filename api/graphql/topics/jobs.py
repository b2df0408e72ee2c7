"""Jobs: trainings, and files of all users' lists; requested here, carried out by a trainer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

import strawberry

from api.graphql.context import Info
from api.graphql.topics.lists.kinds import ListKind
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.filters import ItemFilter, read_filter
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core.errors import InvalidInput
from db import jobs as stored
from engine.cursors import read_cursor, write_cursor
from engine.jobs.requesting import JobEnded, cancel_job, request_training
from engine.many_lists.list_requests import request_lists
from engine.many_lists.wanted_lists import WantedLists
from engine.placements.settings import MOST_UNNAMED

MAX_ID_DIGITS = 18  # fits Postgres's bigint


@strawberry.enum(
    description="The state of a job. QUEUED: no trainer has started it. RUNNING: a trainer works on it."
    " SUCCEEDED: it made its model or file. FAILED: it ended without one. CANCELLED: a person or a client ended it."
)
class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@strawberry.enum(description="The format of a file of lists.")
class ListFileFormat(StrEnum):
    """The format of a file."""

    PARQUET = "parquet"
    JSONL = "jsonl"


@strawberry.type(description="A file with the lists of all users.")
class ListFile:
    """What a job of lists writes, and how far it is."""

    placement: str = strawberry.field(description="Where the lists are shown.")
    first: int = strawberry.field(description="How many items a list has at most.")
    market: strawberry.ID | None = strawberry.field(description="The market in which all items are available.")
    format: ListFileFormat = strawberry.field(description="The format of the file.")
    lists: int = strawberry.field(description="How many lists are written so far.")
    degraded: int = strawberry.field(description="How many of them are degraded.")
    model_id: strawberry.ID | None = strawberry.field(
        description="The model that made them; null before the first and where no model serves."
    )
    url: str | None = strawberry.field(
        description="Where the file is; null until it is complete, and once it was old and deleted."
    )

    @classmethod
    def of(cls, asked: dict[str, Any], progress: dict[str, Any]) -> Self:
        """The public shape of what a job keeps."""
        return cls(
            placement=asked["placement"],
            first=asked["first"] or MOST_UNNAMED,
            market=asked["market"],
            format=ListFileFormat(asked["format"]),
            lists=progress.get("lists", 0),
            degraded=progress.get("degraded", 0),
            model_id=progress.get("model"),
            url=progress.get("file"),
        )


@strawberry.type(description="How far a training is.")
class JobProgress:
    """The stage of a training."""

    stage: str = strawberry.field(description="What the training does, such as `fitting the ranker`.")
    done: int = strawberry.field(description="How many steps of this stage are done.")
    of: int = strawberry.field(description="How many steps this stage has.")
    percent: int = strawberry.field(description="The done steps of this stage in per cent: 0 to 100.")

    @classmethod
    def of_record(cls, progress: stored.Progress) -> Self:
        """The public shape of a progress."""
        return cls(**progress, percent=stored.percent_of(progress))


@strawberry.type(description="A job: one request to train a model, or to write the lists of all users to a file.")
class Job(Node):
    """One job."""

    id: strawberry.ID = strawberry.field(description="The id of the job.")
    kind: str = strawberry.field(description="The kind of model to train, such as affinity; or `lists`, or `refresh`.")
    state: JobState = strawberry.field(description="How far the job is.")
    reason: str = strawberry.field(description="Why it was requested.")
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
    error: str | None = strawberry.field(
        description="Why it failed, why it waits again, or, while it runs, why its attempt ended; null otherwise."
    )
    list_file: ListFile | None = strawberry.field(description="The file that it writes; null for trainings.")
    progress: JobProgress | None = strawberry.field(
        description="How far its training is, a few seconds old while it runs, or was when it ended; null before it"
        " starts, and for files of lists."
    )

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
            list_file=None
            if record.list_request is None
            else ListFile.of(record.list_request, record.list_progress or {}),
            progress=None if record.progress is None else JobProgress.of_record(record.progress),
        )


@strawberry.type(description="A page of jobs.")
class JobConnection(Connection[Job]):
    """A page of jobs, and how many there are."""

    @strawberry.field(description="How many jobs there are, on all pages together.")
    async def total_count(self, info: Info) -> int | None:
        """Counted where it is asked for."""
        return await stored.count_jobs(info.context.reads)


@strawberry.type(description="The outcome of `requestTraining`.")
class RequestTrainingPayload:
    """The requested job."""

    job: Job = strawberry.field(
        description="The waiting job: the new one, or the one that was already waiting. Query `job` with its id."
    )


@strawberry.type(description="The outcome of `requestLists`.")
class RequestListsPayload:
    """The requested job."""

    job: Job = strawberry.field(
        description="The waiting job: the new one, or the one that was already waiting for the same lists. Query `job`"
        " with its id."
    )


@strawberry.type(description="The outcome of `cancelJob`.")
class CancelJobPayload:
    """The cancelled job, or the reason why it was not cancelled."""

    job: Job | None = strawberry.field(description="The cancelled job; null when nothing was cancelled.")
    user_errors: list[UserError] = strawberry.field(
        description="Why nothing was cancelled, such as JOB_ENDED; empty when the job is cancelled."
    )


@strawberry.input(description="The lists that are to be written.")
class RequestListsInput:
    """The list that every user gets."""

    placement: str = strawberry.field(default="home", description="Where the lists are shown: 1 to 64 characters.")
    first: int | None = strawberry.field(
        default=None,
        description="How many items a list has at most: 1 to 100. Null: as many as the placement says, 20 by default.",
    )
    market: strawberry.ID | None = strawberry.field(
        default=None, description="Only items that are available in this market; null for all markets."
    )
    filter: ItemFilter | None = strawberry.field(default=None, description="Only items that match; null for all items.")
    format: ListFileFormat = strawberry.field(default=ListFileFormat.PARQUET, description="The format of the file.")
    kind: ListKind | None = strawberry.field(
        name="list", default=None, description="What to list; null: what the placement says, else PERSONAL."
    )


@strawberry.type
class JobQuery:
    """Queries of jobs."""

    @strawberry.field(
        permission_classes=[requires("models:read")], description="Trainings and files of lists, newest first."
    )
    async def jobs(self, info: Info, first: First = 20, after: After = None) -> JobConnection | None:
        """A page of jobs."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "jobs", after))
        records = await stored.list_jobs(info.context.reads, first + 1, before)
        edges = [
            Edge(cursor=write_cursor(gateway.signer, "jobs", record.id), node=Job.of(record))
            for record in records[:first]
        ]
        return JobConnection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[requires("models:read")], description="One job; null when no job has this id."
    )
    async def job(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the job.")]
    ) -> Job | None:
        """The job with this id."""
        return await find_job(info, id)


@strawberry.type
class JobMutation:
    """Mutations of jobs."""

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

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Let a trainer write the lists of all users to a file, below the address that the operator has set"
        " (`PENCHANT_LISTS_URL`). If a job already waits for the same lists, that one is returned.",
    )
    async def request_lists(
        self,
        info: Info,
        input: Annotated[RequestListsInput, strawberry.argument(description="The lists.")],
        reason: Annotated[
            str, strawberry.argument(description="Why they are requested, for the record: 1 to 500 characters.")
        ] = "asked for by a person",
    ) -> RequestListsPayload | None:
        """Add a job of lists unless the same one waits, and notify the trainers."""
        gateway, viewer = info.context.gateway, info.context.viewer
        kind = None if input.kind is None else input.kind.value
        wanted = WantedLists(
            input.placement, input.first, input.market, read_filter(input.filter), input.format.value, kind
        )
        place = gateway.settings.lists.lists_url
        pool, broker = gateway.shares.bulk, gateway.broker
        job = await request_lists(pool, broker, place, wanted, reason, recorded_name(viewer))
        return RequestListsPayload(job=Job.of(job))

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Cancel a job that waits or runs. Nothing of it is registered from then on; its trainer stops"
        " within seconds. A job that was cancelled before is returned as it is.",
    )
    async def cancel_job(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the job.")]
    ) -> CancelJobPayload | None:
        """Cancel a job."""
        try:
            job = await cancel_job(
                info.context.gateway.shares.bulk, read_job_id(id), recorded_name(info.context.viewer)
            )
        except InvalidInput as error:
            code = "JOB_ENDED" if isinstance(error, JobEnded) else "BAD_USER_INPUT"
            return CancelJobPayload(job=None, user_errors=[UserError.of(error, code)])
        return CancelJobPayload(job=Job.of(job), user_errors=[])


@strawberry.type
class JobSubscription:
    """Subscriptions to jobs."""

    @strawberry.subscription(
        permission_classes=[requires("models:read")],
        description="Jobs as they change: first each job that waits or runs, then each job when it was requested, has"
        " started, got further or ended. Who reads slowly misses steps of a job, never its newest state.",
    )
    async def jobs(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only the job with this id; null for all jobs.")
        ] = None,
    ) -> AsyncGenerator[Job | None, None]:
        """The changes of jobs."""
        number = None if id is None else read_job_id(id)
        async with aclosing(info.context.gateway.job_feed.changes(number)) as changes:
            async for job in changes:
                yield Job.of(job)


def read_job_id(id: str) -> int:
    """The number of a job; 0 for a text that is not a number."""
    return int(id) if id.isascii() and id.isdigit() and len(id) <= MAX_ID_DIGITS else 0


async def find_job(info: Info, id: str) -> Job | None:
    """The job with this id; None when there is none."""
    record = await info.context.jobs.get(read_job_id(id))
    return None if record is None else Job.of(record)
