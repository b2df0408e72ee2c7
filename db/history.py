"""History from a loader: batches of events are copied in, and every line is counted exactly once."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Final, NamedTuple

import asyncpg

from db.events import ensure_months, hold_months
from db.tombstones import ERASED_WHEN, HASH_OF_EVENT

COLUMNS: Final = (
    "source", "id", "occurred_at", "type", "user_id", "anonymous_id", "item_id", "item_ids", "order_id", "quantity",
    "unit_price", "currency", "value", "query", "impression_id", "session_id", "properties", "digest",
)  # fmt: skip
_NAMES: Final = ", ".join(COLUMNS)
_STAGE: Final = "CREATE TEMP TABLE IF NOT EXISTS incoming (position integer GENERATED ALWAYS AS IDENTITY, LIKE events)"
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

    async def store(
        self, rows: bytes, months: Sequence[datetime], save: Callable[[CopyResult], Awaitable[None]]
    ) -> None:
        """Copy the rows and `save` the outcome in one transaction; `months` are the first moments of their months.

        A month may be dropped after it was made. Then all are made again, first each in a transaction of its own, as
        many would need too many locks at once; then in the transaction that keeps them until it ends.
        """
        await self.prepare_months(months)
        try:
            async with self.connection.transaction():
                copied = await self.copy(rows)
                await save(copied)
        except asyncpg.CheckViolationError:
            await ensure_months(self.connection, months)
            async with self.connection.transaction():
                await hold_months(self.connection, months)
                await save(await self.copy(rows))

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
        self.straight = False
        return await self._copy_new(rows)

    async def prepare_months(self, months: Iterable[datetime]) -> None:
        """Make the partitions these months (their first moments) need, before a transaction is open."""
        missing = set(months) - self._months
        await ensure_months(self.connection, missing)
        self._months |= missing

    async def _copy_new(self, rows: bytes) -> CopyResult:
        # The nested loop over the primary key finds conflicts without reading partitions as a whole.
        await self.connection.execute(_STAGE)
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
