"""Jobs, such as trainings: a lease with a fencing token, so that a worker that lost its lease cannot end the job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from core.errors import PenchantError
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

AFFINITY, FORECAST = "affinity", "forecast"  # the kinds of trainings
TRAININGS = (AFFINITY, FORECAST)
REFRESH = "refresh"  # the kind of job that rebuilds the tables of what serves
LEASE = timedelta(minutes=2)
MOST_LEASES = 3  # a job whose worker ended this often without a result is given up; orderly stops do not count
ANNOUNCE_AGAIN_AFTER = timedelta(minutes=1)  # a job that waits longer while no trainer works is announced again
JobState = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]  # the last one is stored as FAILED

COLUMNS = (
    "id, kind, CASE WHEN cancelled_by IS NULL THEN state ELSE 'CANCELLED' END AS state, reason, requested_by,"
    " requested_at, started_at, finished_at, lease_until, fencing_token, bundle,"
    " CASE WHEN cancelled_by IS NULL THEN error ELSE 'cancelled by ' || cancelled_by END AS error, stops,"
    " list_request, list_progress, progress"
)


class LeaseLost(PenchantError):
    """Another worker holds this job now."""


class JobCancelled(LeaseLost):
    """The job was cancelled."""


class Progress(TypedDict):
    """How far a training is: its stage, and how many of the steps of this stage are done."""

    stage: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Job:
    """A requested training, or requested lists (`db/list_jobs.py`)."""

    id: int
    kind: str
    state: JobState
    reason: str
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    lease_until: datetime | None
    fencing_token: int
    bundle: str | None
    error: str | None  # why it failed, why it waits again, or why its last attempt ended; the next one begins later
    stops: int  # how many of its leases were returned, because the trainer was told to end
    list_request: dict[str, Any] | None = None  # of a job of lists: what is written
    list_progress: dict[str, Any] | None = None  # and how far it is
    progress: Progress | None = None  # of a training, at most seconds old while it runs


def percent_of(progress: Progress) -> int:
    """The done steps of the stage, in whole per cent.

    >>> percent_of({"stage": "evaluating", "done": 1, "of": 3})
    33
    """
    return 100 if not progress["of"] else max(0, min(100, 100 * progress["done"] // progress["of"]))


async def request_job(connection: Connection, kind: str, reason: str, requested_by: str) -> Job:
    """Queue a training."""
    row = await connection.fetchrow(
        "INSERT INTO training_jobs (kind, state, reason, requested_by) VALUES ($1, 'QUEUED', $2, $3)"
        f" RETURNING {COLUMNS}",
        kind,
        reason,
        requested_by,
    )
    return Job(**row)


async def request_once(connection: Connection, kind: str, reason: str, requested_by: str) -> Job:
    """The waiting job of this kind, or a new one."""
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.JOB_REQUESTS)
        row = await inside.fetchrow(
            f"SELECT {COLUMNS} FROM training_jobs WHERE kind = $1 AND state = 'QUEUED' ORDER BY id LIMIT 1", kind
        )
        return Job(**row) if row else await request_job(inside, kind, reason, requested_by)


async def schedule_job(connection: Connection, kind: str, period: str, requested_by: str) -> Job | None:
    """Queue the training of this period; None when it was queued before, or another job of the kind waits."""
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.JOB_REQUESTS)
        row = await inside.fetchrow(
            "INSERT INTO training_jobs (kind, state, reason, requested_by, period)"
            " SELECT $1::text, 'QUEUED', 'scheduled for ' || $2, $3, $2"
            " WHERE NOT EXISTS (SELECT FROM training_jobs WHERE kind = $1 AND state = 'QUEUED')"
            f" ON CONFLICT (kind, period) DO NOTHING RETURNING {COLUMNS}",
            kind,
            period,
            requested_by,
        )
        return row and Job(**row)


async def lease_job(
    connection: Connection, kind: str, lease: timedelta = LEASE, *, id: int | None = None
) -> Job | None:
    """Lease the oldest job of this kind, or the one with this id, if it waits or its lease ran out; else None."""
    row = await connection.fetchrow(
        f"""
        UPDATE training_jobs SET state = 'RUNNING', started_at = now(), lease_until = now() + $2,
            fencing_token = fencing_token + 1, error = NULL, progress = NULL
        WHERE id = (
            SELECT id FROM training_jobs
            WHERE kind = $1 AND ($3::bigint IS NULL OR id = $3) AND fencing_token - stops < $4
                AND (state = 'QUEUED' OR state = 'RUNNING' AND lease_until < now())
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        RETURNING {COLUMNS}
        """,
        kind,
        lease,
        id,
        MOST_LEASES,
    )
    return row and Job(**row)


async def unattended_kinds(connection: Connection, waited: timedelta = ANNOUNCE_AGAIN_AFTER) -> list[str]:
    """Kinds with a job whose lease ran out, or with a waiting job while none of the kind runs."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT kind FROM training_jobs AS job
        WHERE state = 'RUNNING' AND lease_until < now()
            OR state = 'QUEUED' AND requested_at < now() - $1::interval AND NOT EXISTS (
                SELECT FROM training_jobs WHERE kind = job.kind AND state = 'RUNNING' AND lease_until >= now()
            )
        ORDER BY kind
        """,
        waited,
    )
    return [row["kind"] for row in rows]


async def give_up_jobs(connection: Connection) -> list[int]:
    """Fail the jobs whose workers ended MOST_LEASES times without a result; returns their ids."""
    rows = await connection.fetch(
        "UPDATE training_jobs SET state = 'FAILED', finished_at = now(), lease_until = NULL, error ="
        " 'given up: its worker ended without a result ' || fencing_token - stops || ' times'"
        " || coalesce('. ' || error, '')"
        " WHERE state = 'RUNNING' AND lease_until < now() AND fencing_token - stops >= $1 RETURNING id",
        MOST_LEASES,
    )
    return [row["id"] for row in rows]


async def heartbeat(
    connection: Connection, job: Job, lease: timedelta = LEASE, progress: Progress | None = None
) -> None:
    """Extend the lease, and keep how far the job is. Raises JobCancelled and LeaseLost."""
    held = await connection.fetchval(
        "UPDATE training_jobs SET lease_until = now() + $3, progress = coalesce($4, progress)"
        " WHERE id = $1 AND fencing_token = $2 AND state = 'RUNNING' RETURNING true",
        job.id,
        job.fencing_token,
        lease,
        progress,
    )
    if not held:
        await check_held(connection, job)


async def check_held(connection: Connection, job: Job) -> None:
    """Raise JobCancelled when the job was cancelled, and LeaseLost unless it is held or has succeeded by this lease."""
    row = await connection.fetchrow(
        "SELECT state, fencing_token, cancelled_by FROM training_jobs WHERE id = $1", job.id
    )
    if row and row["cancelled_by"] is not None:
        raise JobCancelled("The job was cancelled.")  # by a person maybe, whom no log names
    if row is None or row["fencing_token"] != job.fencing_token or row["state"] not in ("RUNNING", "SUCCEEDED"):
        raise LeaseLost


async def cancel_job(connection: Connection, id: int, cancelled_by: str) -> Job | None:
    """End a job that waits or runs: whoever holds it can register nothing any more. None when there is no such job.

    A job that has ended stays as it is.
    """
    row = await connection.fetchrow(
        "UPDATE training_jobs SET state = 'FAILED', finished_at = now(), lease_until = NULL, cancelled_by = $2,"
        f" error = 'cancelled' WHERE id = $1 AND state IN ('QUEUED', 'RUNNING') RETURNING {COLUMNS}",
        id,
        cancelled_by,
    )
    return Job(**row) if row else await job_by_id(connection, id)


async def finish_job(connection: Connection, job: Job, bundle: str | None) -> None:
    """End the job with this registered bundle; None when it made none. Raises LeaseLost."""
    await change_held(
        connection, job, "state = 'SUCCEEDED', finished_at = now(), lease_until = NULL, bundle = $3", bundle
    )


async def fail_job(connection: Connection, job: Job, error: str) -> None:
    """End the job as failed. Raises LeaseLost."""
    await change_held(connection, job, "state = 'FAILED', finished_at = now(), lease_until = NULL, error = $3", error)


async def note_error(connection: Connection, job: Job, error: str) -> None:
    """Keep why this attempt ended; the job begins again when its lease has ended. Raises LeaseLost."""
    await change_held(connection, job, "error = $3", error)


async def requeue_job(connection: Connection, job: Job, reason: str) -> None:
    """Let the job wait again, with the reason; the lease does not count as an attempt. Raises LeaseLost."""
    await change_held(connection, job, "state = 'QUEUED', lease_until = NULL, stops = stops + 1, error = $3", reason)


async def job_by_id(connection: Connection, id: int) -> Job | None:
    """The job with this id."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM training_jobs WHERE id = $1", id)
    return row and Job(**row)


async def jobs_by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, Job]:
    """The jobs with these ids, by id; those that are not there are left out."""
    rows = await connection.fetch(f"SELECT {COLUMNS} FROM training_jobs WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: Job(**row) for row in rows}


async def latest_jobs(connection: Connection) -> list[Job]:
    """The newest job of every kind, and the newest finished one; in the order of their requests."""
    rows = await connection.fetch(
        f"SELECT * FROM (SELECT DISTINCT ON (kind, finished_at IS NULL) {COLUMNS} FROM training_jobs"
        " ORDER BY kind, finished_at IS NULL, id DESC) AS newest ORDER BY id"
    )
    return [Job(**row) for row in rows]


async def list_jobs(connection: Connection, first: int, before: int | None = None) -> list[Job]:
    """At most `first` jobs, newest first; `before` is the id after which the page begins."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM training_jobs WHERE $2::bigint IS NULL OR id < $2 ORDER BY id DESC LIMIT $1",
        first,
        before,
    )
    return [Job(**row) for row in rows]


async def list_active_jobs(connection: Connection, most: int) -> list[Job]:
    """The jobs that wait or run, oldest first, at most `most`."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM training_jobs WHERE state IN ('QUEUED', 'RUNNING') ORDER BY id LIMIT $1", most
    )
    return [Job(**row) for row in rows]


async def list_jobs_since(connection: Connection, newest: int, followed: list[int], most: int) -> list[Job]:
    """The jobs `followed`, and those that were requested after the job `newest`, at most `most` of them; by id."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM training_jobs WHERE id = ANY($2)"
        f" UNION ALL (SELECT {COLUMNS} FROM training_jobs WHERE id > $1 AND id <> ALL($2) ORDER BY id LIMIT $3)"
        " ORDER BY id",
        newest,
        followed,
        most,
    )
    return [Job(**row) for row in rows]


async def newest_job_id(connection: Connection) -> int:
    """The largest id of a job; 0 when there is none."""
    return int(await connection.fetchval("SELECT coalesce(max(id), 0) FROM training_jobs"))


async def count_jobs(connection: Connection) -> int:
    """How many jobs there are."""
    return int(await connection.fetchval("SELECT count(*) FROM training_jobs"))


async def change_held(connection: Connection, job: Job, change: str, value: object) -> None:
    """Set these columns of a job whose lease is held; `value` is $3. Raises LeaseLost."""
    held = await connection.fetchval(
        f"UPDATE training_jobs SET {change} WHERE id = $1 AND fencing_token = $2 AND state = 'RUNNING' RETURNING true",
        job.id,
        job.fencing_token,
        value,
    )
    if not held:
        raise LeaseLost
