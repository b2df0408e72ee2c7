"""The outbox of the purge webhook: keys that a receiver still has to drop, and how far the changes of items are in it.

The changes themselves are not kept here: items hold them (`items.changed_seq`). So many changes of one item are one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from db.items import catalogue_version
from db.postgres import Connection

LEASE: Final = timedelta(seconds=60)  # after which a purge whose sender did not report is sent again
KEPT: Final = timedelta(days=1)  # dead purges, and those that nobody sends any more
MOST_DEAD: Final = 1_000  # the oldest are deleted
LONGEST_ERROR: Final = 200  # characters


class ItemChanges(NamedTuple):
    """Items that changed. `listed`: lists may show one that they did not. `seq` is the place to read on from.

    `ids` is None when there are more than were asked for.
    """

    ids: list[str] | None
    listed: bool
    seq: int


class Purge(NamedTuple):
    """A purge that its sender has leased."""

    id: UUID
    keys: list[str]
    made_at: datetime


class PurgeBacklog(NamedTuple):
    """Purges that wait and since when the oldest does, those that died, and why the last attempt failed."""

    waiting: int
    oldest: timedelta
    dead: int
    error: str | None


class Queue(NamedTuple):
    """Purges that wait, attempts that failed since one succeeded, and whether sending is paused."""

    waiting: int
    failures: int
    paused: bool


async def lock_progress(connection: Connection) -> int | None:
    """The place up to which the changes are in purges, locked until this transaction ends.

    None when another process has it, or when this call is the first of all: changes from now on will be in purges.
    """
    seq: int | None = await connection.fetchval("SELECT seq FROM purge_progress FOR UPDATE SKIP LOCKED")
    if seq is None:
        await connection.execute(
            "INSERT INTO purge_progress (seq) VALUES ($1) ON CONFLICT (one) DO NOTHING",
            await catalogue_version(connection),
        )
    return seq


async def queue_of_purges(connection: Connection) -> Queue:
    """What waits, and how the receiver does."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM purges WHERE dead_at IS NULL) AS waiting, failures,"
        " coalesce(paused_until > now(), false) AS paused FROM purge_progress"
    )
    return Queue(row["waiting"], row["failures"], row["paused"])


async def item_changes_since(connection: Connection, seq: int, most: int) -> ItemChanges:
    """The items that changed after `seq`, at most so many."""
    rows = await connection.fetch(
        "SELECT id, coalesce(listed_seq > $1, false) AS listed, changed_seq FROM items WHERE changed_seq > $1"
        " ORDER BY changed_seq LIMIT $2",
        seq,
        most + 1,
    )
    if len(rows) > most:
        return ItemChanges(None, True, await catalogue_version(connection))
    return ItemChanges(
        [row["id"] for row in rows], any(row["listed"] for row in rows), rows[-1]["changed_seq"] if rows else seq
    )


async def add_purges(connection: Connection, purges: Sequence[tuple[UUID, Sequence[str]]], delay: timedelta) -> None:
    """Let these keys be sent after `delay`."""
    for id, keys in purges:
        await connection.execute(
            "INSERT INTO purges (id, keys, due_at) VALUES ($1, $2, now() + $3::interval)", id, list(keys), delay
        )


async def note_progress(connection: Connection, seq: int) -> None:
    """All changes up to `seq` are in purges now."""
    await connection.execute("UPDATE purge_progress SET seq = $1", seq)


async def lease_purge(connection: Connection) -> Purge | None:
    """The oldest purge that is due and that no other process sends; None while sending is paused."""
    row = await connection.fetchrow(
        """UPDATE purges SET attempts = attempts + 1, due_at = now() + $1::interval WHERE id = (
               SELECT id FROM purges WHERE dead_at IS NULL AND due_at <= now()
               AND NOT EXISTS (SELECT FROM purge_progress WHERE paused_until > now())
               ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id, keys, made_at""",
        LEASE,
    )
    return Purge(row["id"], row["keys"], row["made_at"]) if row else None


async def note_delivered(connection: Connection, id: UUID) -> None:
    """The receiver has taken this purge."""
    await connection.execute("DELETE FROM purges WHERE id = $1", id)
    await connection.execute("UPDATE purge_progress SET failures = 0, paused_until = NULL WHERE failures > 0")


async def note_failure(connection: Connection) -> int:
    """Count an attempt that failed; returns how many have since one succeeded."""
    failures: int = await connection.fetchval("UPDATE purge_progress SET failures = failures + 1 RETURNING failures")
    return failures


async def pause_purges(connection: Connection, id: UUID, pause: timedelta, error: str) -> None:
    """Send none for so long. The one that failed is due again then."""
    await connection.execute("UPDATE purge_progress SET paused_until = now() + $1::interval", pause)
    await connection.execute(
        "UPDATE purges SET due_at = now(), error = $2 WHERE id = $1 AND dead_at IS NULL", id, error[:LONGEST_ERROR]
    )


async def end_purge(connection: Connection, id: UUID, error: str) -> int:
    """Do not send this purge again; returns how many died."""
    return await _end(connection, "id = $2", error, id)


async def end_purges_older_than(connection: Connection, age: timedelta, error: str) -> int:
    """Do not send those again that have waited for so long; returns how many died."""
    return await _end(connection, "made_at <= now() - $2::interval", error, age)


async def delete_old_purges(connection: Connection) -> None:
    """Delete what nobody will ask for: what is older than `KEPT`, and dead purges beyond `MOST_DEAD`."""
    await connection.execute(
        """DELETE FROM purges WHERE made_at < now() - $1::interval OR number IN (
               SELECT number FROM purges WHERE dead_at IS NOT NULL ORDER BY number DESC OFFSET $2)""",
        KEPT,
        MOST_DEAD,
    )


async def purge_backlog(connection: Connection) -> PurgeBacklog:
    """What waits and what died."""
    row = await connection.fetchrow(
        """SELECT count(*) FILTER (WHERE dead_at IS NULL) AS waiting,
               coalesce(now() - min(made_at) FILTER (WHERE dead_at IS NULL), interval '0') AS oldest,
               count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
               (array_agg(error ORDER BY coalesce(dead_at, due_at) DESC) FILTER (WHERE error IS NOT NULL))[1] AS error
           FROM purges"""
    )
    return PurgeBacklog(row["waiting"], row["oldest"], row["dead"], row["error"])


async def _end(connection: Connection, which: str, error: str, value: object) -> int:
    tag = await connection.execute(
        f"UPDATE purges SET dead_at = now(), error = $1 WHERE dead_at IS NULL AND {which}", error[:LONGEST_ERROR], value
    )
    return int(tag.rpartition(" ")[2])
