"""Retention: old months are dropped from Postgres once the lake has all their events."""

import asyncio
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog

from db.lake.day_contents import TIMEOUT, DayContents, contents_by_day, midnight
from db.lake.days import Contents, read_contents
from db.lake.export import in_lake
from db.lake.location import Lake
from db.lake.owner import drops_by_month, origin_of, require_same_origin
from db.months import months_of_events, next_month
from db.postgres import Contended

log = structlog.get_logger()

# The shop's statements wait behind ours for up to this long. All attempts together are shorter than deadlock_timeout:
# when a writer waits for the month and we wait for the writer, we give up first.
_ATTEMPTS: Final = 2
_LOCK_TIMEOUT: Final = "300ms"


async def drop_exported_months(connection: Any, lake: Lake, keep: int, now: datetime) -> list[date]:
    """Drop the months whose last day is more than `keep` days ago, if the lake has each of their days as Postgres does.

    The connection is a `sole_writer`'s, and outside a transaction. Returns the dropped months. Readers of old
    events (a person's state, their history, training without the lake) see less from then on.

    Raises ForeignLake, and StoreUnavailable when the lake cannot be read.
    """
    contents = await asyncio.to_thread(read_contents, lake)
    require_same_origin(await origin_of(connection), contents.days.values())
    drops = await drops_by_month(connection)
    last = now - timedelta(days=keep)
    # Without this check `next_month` would fail for 9999-12.
    begun = [month for month in await months_of_events(connection) if midnight(month) < last]
    old = [month for month in begun if midnight(next_month(month)) <= last]
    return [month for month in old if await _drop(connection, contents, month, drops.get(month, 0))]


async def _drop(connection: Any, contents: Contents, month: date, layer: int) -> bool:
    """Check and drop in one transaction. Meanwhile others can read the month, but not write to it."""
    partition = f"events_{month:%Y_%m}"
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout TO '{_LOCK_TIMEOUT}'")
            await connection.execute(f"LOCK TABLE {partition} IN SHARE MODE")
            held = await contents_by_day(connection, month, next_month(month))
            missing = [day for day in held if not _whole(contents, day, held, layer)]
            if missing:
                log.warning("month_kept", month=month.isoformat(), not_in_lake=[day.isoformat() for day in missing])
                return False
            await _detach(connection, partition)
            await connection.execute(
                "INSERT INTO lake_drops (month, layer, rows) VALUES ($1, $2, $3)",
                month,
                layer,
                sum(each.rows for each in held.values()),
            )
            await connection.execute(f"DROP TABLE {partition}", timeout=TIMEOUT)
    except Contended:
        log.warning("month_kept", month=month.isoformat(), reason="in use")
        return False
    log.info("month_dropped", month=month.isoformat(), rows=sum(each.rows for each in held.values()))
    return True


def _whole(contents: Contents, day: date, held: Mapping[date, DayContents], layer: int) -> bool:
    known = contents.days.get(day)
    return known is not None and in_lake(known, held[day], layer) and contents.whole(known)


async def _detach(connection: Any, partition: str) -> None:
    """Wait for the whole table, but only briefly. Raises Contended."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            async with connection.transaction():
                await connection.execute(f"ALTER TABLE events DETACH PARTITION {partition}")
            return
        except Contended:
            if not left:
                raise
        await asyncio.sleep(0.2)
