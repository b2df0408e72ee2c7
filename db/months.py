"""The months of events: each has a partition of its own, and an old one that is empty is dropped again."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog

from db.locks import AdvisoryLock, try_lock_transaction
from db.postgres import Connection, Contended, Pool

log = structlog.get_logger()

KEPT: Final = timedelta(days=100)  # after the end of a month: late events are usual until then
MOST_CHECKED: Final = 24  # months of one run; another run checks others
MOST_DROPPED: Final = 6  # months of one run
_LOCK_TIMEOUT: Final = "50ms"  # the shop's statements wait behind ours for up to this long


def next_month(month: date) -> date:
    """The first day of the month after."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


async def months_of_events(connection: Connection) -> list[date]:
    """The months that have a partition."""
    rows = await connection.fetch(
        "SELECT to_date(substr(relname, 8), 'YYYY_MM') AS month FROM pg_inherits JOIN pg_class ON oid = inhrelid"
        " WHERE inhparent = 'events'::regclass ORDER BY month"
    )
    return [row["month"] for row in rows]


async def drop_empty_months(pool: Pool, now: datetime) -> list[date]:
    """Drop some of the old months without events; returns them. Each minute other months are checked.

    None is dropped while a load or an export is running, or while a statement of the shop uses the table: a later run
    tries again.
    """
    async with pool.acquire() as connection:
        dropped: list[date] = []
        for month in (await _empty_months(connection, now))[:MOST_DROPPED]:
            if not await _drop(connection, month):
                break
            dropped.append(month)
    if dropped:
        log.info("empty_months_dropped", months=[month.isoformat() for month in dropped])
    return dropped


async def _empty_months(connection: Any, now: datetime) -> list[date]:
    async with connection.transaction():
        if not await _may_drop(connection):
            return []
        months = _to_check([month for month in await months_of_events(connection) if _is_old(month, now)], now)
        if not months:
            return []
        selects = (f"SELECT {at} AS at WHERE NOT EXISTS (SELECT FROM {_table(each)})" for at, each in enumerate(months))
        return [months[row["at"]] for row in await connection.fetch(" UNION ALL ".join(selects))]


def _is_old(month: date, now: datetime) -> bool:
    last = (now - KEPT).date()
    return month < last and next_month(month) <= last  # the month after 9999-12 cannot be computed


def _to_check(months: Sequence[date], now: datetime) -> Sequence[date]:
    """The months of this minute, so that every month is checked within the hour."""
    slices = max(1, -(-len(months) // MOST_CHECKED))
    start = now.minute % slices * MOST_CHECKED
    return months[start : start + MOST_CHECKED]


async def _drop(connection: Any, month: date) -> bool:
    """Drop the month if it is still there and empty; False when something uses it."""
    table = _table(month)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout TO '{_LOCK_TIMEOUT}'")
            if not await _may_drop(connection) or not await connection.fetchval("SELECT to_regclass($1)::text", table):
                return False
            await connection.execute(f"LOCK TABLE ONLY events, ONLY {table} IN ACCESS EXCLUSIVE MODE")
            if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
                return False
            await connection.execute(f"DROP TABLE {table}")
    except Contended:
        return False
    return True


async def _may_drop(connection: Any) -> bool:
    """Take the locks that loads, exports and other droppers hold, until the transaction ends."""
    locks = (AdvisoryLock.MONTHS_IN_USE, AdvisoryLock.LAKE_WRITER)
    return all([await try_lock_transaction(connection, lock) for lock in locks])


def _table(month: date) -> str:
    return f"events_{month:%Y_%m}"
