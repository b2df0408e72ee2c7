"""History from a loader: batches of events are copied in, and every line is counted exactly once."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Final, NamedTuple

import asyncpg

from db.events import ensure_months
from db.locks import AdvisoryLock, lock_session_shared, try_lock_session
from db.tombstones import ERASED_WHEN, HASH_OF_EVENT

ATTEMPTS, PAUSE = 25, 0.2  # attempts to claim a load; seconds between them
COLUMNS: Final = (
    "source", "id", "occurred_at", "type", "user_id", "anonymous_id", "item_id", "item_ids", "order_id", "quantity",
    "unit_price", "currency", "value", "query", "impression_id", "session_id", "properties", "digest",
)  # fmt: skip
_NAMES: Final = ", ".join(COLUMNS)
_STAGE: Final = "CREATE TEMP TABLE incoming (position integer GENERATED ALWAYS AS IDENTITY, LIKE events)"
_STORE: Final = f"""
    WITH stored AS (
        INSERT INTO events ({_NAMES}) SELECT {_NAMES} FROM incoming ORDER BY position ON CONFLICT DO NOTHING RETURNING 1
    ) SELECT count(*) FROM stored
"""
_CONFLICTS: Final = """
    SELECT position - 1 AS place FROM incoming JOIN events USING (source, id, occurred_at)
    WHERE incoming.digest <> events.digest ORDER BY position
"""
# Staged rows are assigned and checked: events of guests who became users, of merged users, and of erased people.
_HAS_JOINED_OR_ERASED: Final = (
    "SELECT EXISTS (SELECT FROM identities) OR EXISTS (SELECT FROM merged_users) OR EXISTS (SELECT FROM tombstones)"
)
_ASSIGN: Final = """
    UPDATE incoming SET user_id = (SELECT user_id FROM identities WHERE anonymous_id = incoming.anonymous_id)
    WHERE user_id IS NULL
"""
_ASSIGN_MERGED: Final = """
    UPDATE incoming SET user_id = merged.into_id FROM merged_users AS merged WHERE merged.user_id = incoming.user_id
"""
_DROP_ERASED: Final = f"""
    WITH erased AS (
        DELETE FROM incoming WHERE occurred_at < {ERASED_WHEN.format(hash=HASH_OF_EVENT)}
        RETURNING position - 1 AS place
    ) SELECT place FROM erased ORDER BY place
"""


class LoadProgress(NamedTuple):
    """How far a file is loaded: `lines` are done, the other numbers count outcomes of its events."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0


class CopyResult(NamedTuple):
    """The outcome of a batch. `conflicts` are positions of rows whose identity is stored with another body.

    `erased` are positions of events from before their person's erasure.
    """

    stored: int
    duplicate: int
    conflicts: list[int]
    erased: list[int]


@dataclass(slots=True)
class HistoryCopier:
    """Copies batches into `events` on one connection.

    COPY goes straight into the table until a batch holds a stored event, or a guest was joined to a user, or a user was
    merged, or a person was erased. From then on batches go through a temporary table, at about two thirds of the speed.
    """

    connection: asyncpg.Connection
    straight: bool = True
    _months: set[datetime] = field(default_factory=set)

    async def copy(self, rows: bytes) -> CopyResult:
        """Store the rows, CSV in the order of COLUMNS, inside the transaction that is open."""
        if not rows:
            return CopyResult(0, 0, [], [])
        if self.straight and not await self.connection.fetchval(_HAS_JOINED_OR_ERASED):
            try:
                async with self.connection.transaction():
                    return CopyResult(await self._copy_into("events", rows), 0, [], [])
            except asyncpg.UniqueViolationError:
                pass  # the whole batch goes through the temporary table, which skips stored events
        if self.straight:
            self.straight = False
            await self.connection.execute(_STAGE)
        return await self._copy_new(rows)

    async def prepare_months(self, months: Iterable[datetime]) -> None:
        """Make the partitions these months (their first moments) need, before a transaction is open."""
        missing = set(months) - self._months
        await ensure_months(self.connection, missing)
        self._months |= missing

    async def _copy_new(self, rows: bytes) -> CopyResult:
        # The nested loop over the primary key finds conflicts without reading partitions as a whole.
        await self.connection.execute(
            "TRUNCATE incoming RESTART IDENTITY; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        )
        total = await self._copy_into("incoming", rows)
        erased = [row["place"] for row in await self.connection.fetch(_DROP_ERASED)]
        await self.connection.execute(_ASSIGN)
        await self.connection.execute(_ASSIGN_MERGED)
        stored = await self.connection.fetchval(_STORE)
        found = await self.connection.fetch(_CONFLICTS) if stored + len(erased) < total else []
        duplicate = total - stored - len(found) - len(erased)
        return CopyResult(stored, duplicate, [row["place"] for row in found], erased)

    async def _copy_into(self, table: str, rows: bytes) -> int:
        tag: str = await self.connection.copy_to_table(
            table, source=BytesIO(rows), columns=COLUMNS, format="csv", null=""
        )
        return int(tag.rpartition(" ")[2])


async def _claimed(connection: asyncpg.Connection, id: str) -> bool:
    """Take the load's lock; False if it stays taken. A killed process holds it until its last statement ends."""
    for _ in range(ATTEMPTS):
        if await try_lock_session(connection, AdvisoryLock.LOADS, id):
            return True
        await asyncio.sleep(PAUSE)
    return False


async def begin_load(connection: asyncpg.Connection, id: str, file: str) -> LoadProgress | None:
    """Claim a load for as long as the connection lives. Returns its progress, or None when another process has it.

    A finished load starts from the beginning.
    """
    if not await _claimed(connection, id):
        return None
    await lock_session_shared(connection, AdvisoryLock.MONTHS_IN_USE)
    row = await connection.fetchrow(
        "INSERT INTO loads (id, file) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET file = EXCLUDED.file"
        " RETURNING lines, stored, duplicate, rejected, finished_at",
        id,
        file,
    )
    if row["finished_at"] is None:
        return LoadProgress(*tuple(row)[:4])
    await save_load(connection, id, LoadProgress())
    return LoadProgress()


async def first_started_at(connection: asyncpg.Connection, id: str) -> datetime:
    """When this load was started for the first time."""
    begun: datetime = await connection.fetchval("SELECT started_at FROM loads WHERE id = $1", id)
    return begun


async def save_load(connection: asyncpg.Connection, id: str, progress: LoadProgress, *, finished: bool = False) -> None:
    """Store the progress of the load."""
    await connection.execute(
        "UPDATE loads SET lines = $2, stored = $3, duplicate = $4, rejected = $5,"
        " finished_at = CASE WHEN $6 THEN now() END WHERE id = $1",
        id,
        *progress,
        finished,
    )
