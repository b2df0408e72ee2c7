"""The right to write to a lake: one process at a time, of one database."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any, Final

from core.errors import PenchantError, StoreUnavailable
from db.lake.days import Day
from db.locks import AdvisoryLock, try_lock_session, unlock_session
from db.postgres import Connection, Pool

_ATTEMPTS: Final = 10
_PAUSE: Final = 0.2  # seconds


class LakeBusy(PenchantError):
    """Another process is writing to the lake."""


class ForeignLake(PenchantError):
    """The lake belongs to another database."""


@asynccontextmanager
async def sole_writer(pool: Pool) -> AsyncIterator[Any]:
    """A connection that holds the lock for writing to the lake until it is closed. Raises LakeBusy."""
    async with pool.acquire() as connection:
        await _lock(connection)
        try:
            yield connection
        finally:
            with suppress(StoreUnavailable):  # a lost connection has lost the lock
                await unlock_session(connection, AdvisoryLock.LAKE_WRITER)


async def _lock(connection: Connection) -> None:
    """Take the lock. Tries for a moment: a killed process holds it until Postgres notices. Raises LakeBusy."""
    for _ in range(_ATTEMPTS):
        if await try_lock_session(connection, AdvisoryLock.LAKE_WRITER):
            return
        await asyncio.sleep(_PAUSE)
    raise LakeBusy


async def origin_of(connection: Connection) -> str:
    """The id of this database in the manifests of its lake, made on the first call."""
    await connection.execute("INSERT INTO lake_origin DEFAULT VALUES ON CONFLICT DO NOTHING")
    return str(await connection.fetchval("SELECT id FROM lake_origin"))


def require_same_origin(origin: str, days: Iterable[Day]) -> None:
    """Raise ForeignLake when another database wrote any of these days."""
    for day in days:
        if day.origin != origin:
            raise ForeignLake(f"The lake belongs to another database: it wrote {day.day}. Every database has its own.")


async def drops_by_month(connection: Connection) -> dict[date, int]:
    """How often each month was dropped; months that were never dropped are left out."""
    rows = await connection.fetch("SELECT month, count(*) AS times FROM lake_drops GROUP BY month")
    return {row["month"]: row["times"] for row in rows}
