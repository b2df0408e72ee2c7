"""The rows about loads: how far each is, where its manifest is, and whether it was taken back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from core.errors import NotFound, PenchantError, StoreUnavailable
from db.locks import AdvisoryLock, try_lock_session, try_lock_session_shared
from db.postgres import Connection, Pool

EVENTS: Final = "events"
ATTEMPTS, PAUSE = 25, 0.2  # attempts to take a lock; seconds between them
_COLUMNS: Final = (
    "id, file, kind, lines, stored, duplicate, rejected, started_at, finished_at, manifest, undo_began_at, undone_at,"
    " taken_back"
)
_RUNS: Final = (
    "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid::bigint = $1 AND objid::bigint = hashtext(loads.id)::bigint & 4294967295)"
)


class LoadBusy(PenchantError):
    """A process is working on this load."""


class LoadProgress(NamedTuple):
    """How far a file is loaded: `lines` are done, the other numbers count outcomes of its events."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0


class Begun(NamedTuple):
    """A load that this process may go on with. `manifest` is the address that its manifest is at.

    `anew`: an earlier load was taken back, so what is left of its manifest goes first.
    """

    progress: LoadProgress
    started_at: datetime
    manifest: str | None
    anew: bool


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One load. `kind` is None for a load of a release without manifests; `taken_back` counts deleted events."""

    id: str
    file: str
    kind: str | None
    lines: int
    stored: int
    duplicate: int
    rejected: int
    started_at: datetime
    finished_at: datetime | None
    manifest: str | None
    undo_began_at: datetime | None
    undone_at: datetime | None
    taken_back: int
    running: bool

    @property
    def holds_events(self) -> bool:
        """Whether it may name events."""
        return self.kind in (None, EVENTS) and self.undone_at is None

    @property
    def state(self) -> str:
        """`RUNNING`, `STOPPED`, `FINISHED`, `UNDOING` (an undo that was stopped) or `UNDONE`."""
        if self.undone_at is not None:
            return "UNDONE"
        if self.running:
            return "RUNNING"
        if self.undo_began_at is not None:
            return "UNDOING"
        return "STOPPED" if self.finished_at is None else "FINISHED"


async def begin_load(connection: Connection, id: str, file: str, kind: str, manifest: str | None) -> Begun:
    """Claim a load for as long as the connection lives. A finished load starts from the beginning.

    `manifest` is the address for a new manifest. A load keeps the one it has until it is taken back.

    Raises LoadBusy: another process loads the file, or a load is being taken back.
    """
    if not await _locked(connection, AdvisoryLock.LOADS, id):
        raise LoadBusy("another process is loading it")
    if not await _shared(connection):
        raise LoadBusy("a load is being taken back; try again when that has ended")
    row = await connection.fetchrow(
        "INSERT INTO loads (id, file, kind, manifest) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE"
        f" SET file = EXCLUDED.file, kind = EXCLUDED.kind RETURNING {_COLUMNS}",
        id,
        file,
        kind,
        manifest,
    )
    if row["undo_began_at"] is not None and row["undone_at"] is None:
        raise LoadBusy(f"its undo has begun and has not ended: `penchant load undo {id}` ends it")
    if row["finished_at"] is None and row["undone_at"] is None and (row["manifest"] or not manifest):
        progress = LoadProgress(*(row[name] for name in LoadProgress._fields))
        return Begun(progress, row["started_at"], row["manifest"], anew=False)
    began = await connection.fetchrow(
        "UPDATE loads SET lines = 0, stored = 0, duplicate = 0, rejected = 0, finished_at = NULL,"
        " undo_began_at = NULL, undone_at = NULL, taken_back = 0,"
        " manifest = CASE WHEN undone_at IS NULL THEN manifest ELSE coalesce($2, manifest) END,"
        " started_at = CASE WHEN undone_at IS NULL THEN started_at ELSE now() END"
        " WHERE id = $1 RETURNING started_at, manifest",
        id,
        manifest,
    )
    return Begun(LoadProgress(), began["started_at"], began["manifest"] or manifest, row["undone_at"] is not None)


async def finish_load(connection: Connection, id: str, progress: LoadProgress, manifest: str | None) -> None:
    """Record that the whole file is loaded.

    A load that had no manifest before has one only now: until now it lacked events of the earlier load.
    """
    await save_load(connection, id, progress)
    await connection.execute(
        "UPDATE loads SET finished_at = now(), manifest = coalesce(manifest, $2) WHERE id = $1", id, manifest
    )


async def save_load(connection: Connection, id: str, progress: LoadProgress) -> None:
    """Store the progress of the load."""
    await connection.execute(
        "UPDATE loads SET lines = $2, stored = $3, duplicate = $4, rejected = $5 WHERE id = $1", id, *progress
    )


async def list_loads(connection: Connection, limit: int) -> list[LoadRecord]:
    """The newest loads, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, {_RUNS} AS running FROM loads ORDER BY started_at DESC, id LIMIT $2",
        AdvisoryLock.LOADS,
        limit,
    )
    return [LoadRecord(**row) for row in rows]


async def other_loads(connection: Connection, id: str) -> list[LoadRecord]:
    """Every other load whose events are stored."""
    rows = await connection.fetch(f"SELECT {_COLUMNS}, false AS running FROM loads WHERE id <> $1 ORDER BY id", id)
    return [record for record in (LoadRecord(**row) for row in rows) if record.holds_events]


@asynccontextmanager
async def claimed_load(pool: Pool, id: str) -> AsyncIterator[tuple[Any, LoadRecord]]:
    """A connection, and a load that may be taken back: while the block runs, no file is loaded.

    Raises NotFound, and LoadBusy while this or another file is being loaded.
    """
    async with pool.acquire() as connection:
        await load_record(connection, id)
        if not await _locked(connection, AdvisoryLock.LOADS, id):
            raise LoadBusy("this load is running; stop it or wait for its end")
        try:
            if not await _locked(connection, AdvisoryLock.MONTHS_IN_USE):
                raise LoadBusy("a file is being loaded; take the load back when that has ended")
            yield connection, await load_record(connection, id)
        finally:
            with suppress(StoreUnavailable):  # a lost connection has lost its locks
                await connection.execute("SELECT pg_advisory_unlock_all()")


async def load_record(connection: Connection | Pool, id: str) -> LoadRecord:
    """The load with this id. Raises NotFound."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS}, false AS running FROM loads WHERE id = $1", id)
    if row is None:
        raise NotFound(f"there is no load {id}; `penchant load list` shows them")
    return LoadRecord(**row)


async def begin_undo(connection: Connection, id: str) -> None:
    """Record that the load is being taken back: from now on it does not go on."""
    await connection.execute("UPDATE loads SET undo_began_at = coalesce(undo_began_at, now()) WHERE id = $1", id)


async def count_taken_back(connection: Connection, id: str, events: int) -> None:
    """Add to the number of events that were taken back."""
    await connection.execute("UPDATE loads SET taken_back = taken_back + $2 WHERE id = $1", id, events)


async def finish_undo(connection: Connection, id: str) -> LoadRecord:
    """Record that the load is taken back."""
    row: Any = await connection.fetchrow(
        f"UPDATE loads SET undone_at = now() WHERE id = $1 RETURNING {_COLUMNS}, false AS running", id
    )
    return LoadRecord(**row)


async def _locked(connection: Connection, lock: AdvisoryLock, name: str | None = None) -> bool:
    """Take a lock; False if it stays taken. A killed process holds its locks until its last statement ends."""
    for _ in range(ATTEMPTS):
        if await try_lock_session(connection, lock, name):
            return True
        await asyncio.sleep(PAUSE)
    return False


async def _shared(connection: Connection) -> bool:
    for _ in range(ATTEMPTS):
        if await try_lock_session_shared(connection, AdvisoryLock.MONTHS_IN_USE):
            return True
        await asyncio.sleep(PAUSE)
    return False
