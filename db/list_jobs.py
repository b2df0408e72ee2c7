"""Jobs that write the lists of all users to a file: a kind of job, with what it writes and how far it is."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from db.jobs import COLUMNS, Job, change_held
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

LISTS: Final = "lists"  # the kind
MOST_WAITING: Final = 20
MOST_DELETED: Final = 1_000  # old files at a time
OLD = "kind = 'lists' AND state = 'SUCCEEDED' AND list_progress ? 'file' AND finished_at < now() - $1::interval"
Format = Literal["parquet", "jsonl"]  # of the file


async def request_list_job(
    connection: Connection, wanted: Mapping[str, Any], reason: str, requested_by: str, period: str | None = None
) -> Job | None:
    """The job that waits for the same lists, or a new one; None when MOST_WAITING others wait.

    With `period`, only a new one: None when the lists of this period were requested before, or the same lists wait.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.JOB_REQUESTS)
        rows = await inside.fetch(
            f"SELECT {COLUMNS} FROM training_jobs WHERE kind = $1 AND state = 'QUEUED' ORDER BY id", LISTS
        )
        same = next((Job(**row) for row in rows if row["list_request"] == wanted), None)
        if same or len(rows) >= MOST_WAITING:
            return same if period is None else None
        row = await inside.fetchrow(
            "INSERT INTO training_jobs (kind, state, reason, requested_by, period, list_request)"
            f" VALUES ($1, 'QUEUED', $2, $3, $4, $5) ON CONFLICT (kind, period) DO NOTHING RETURNING {COLUMNS}",
            LISTS,
            reason,
            requested_by,
            period,
            dict(wanted),
        )
        return row and Job(**row)


async def note_progress(connection: Connection, job: Job, progress: Mapping[str, Any]) -> None:
    """Keep how far the job is. Raises LeaseLost."""
    await change_held(connection, job, "list_progress = $3", dict(progress))


async def finish_list_job(connection: Connection, job: Job, progress: Mapping[str, Any]) -> None:
    """End the job: its file is there. Raises LeaseLost."""
    await change_held(
        connection,
        job,
        "state = 'SUCCEEDED', finished_at = now(), lease_until = NULL, list_progress = $3",
        dict(progress),
    )


async def claim_old_files(connection: Connection, keep: timedelta) -> bool:
    """Whether there are files that are older than this and that nobody was to delete for a day."""
    claimed = await connection.fetch(
        "UPDATE training_jobs SET lease_until = now() + interval '1 day'"
        f" WHERE {OLD} AND (lease_until IS NULL OR lease_until < now()) RETURNING id",
        keep,
    )
    return bool(claimed)


async def old_files(connection: Connection, keep: timedelta) -> list[tuple[int, str]]:
    """The jobs whose files are older than this, with the addresses of the files; at most MOST_DELETED."""
    rows = await connection.fetch(
        f"SELECT id, list_progress ->> 'file' AS file FROM training_jobs WHERE {OLD} ORDER BY id LIMIT $2",
        keep,
        MOST_DELETED,
    )
    return [(row["id"], row["file"]) for row in rows]


async def forget_file(connection: Connection, job: int) -> None:
    """The file of this job is deleted."""
    await connection.execute(
        "UPDATE training_jobs SET list_progress = list_progress - 'file', lease_until = NULL WHERE id = $1", job
    )
