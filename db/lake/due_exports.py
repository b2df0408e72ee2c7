"""Due exports: requested once a day, and again until one is finished."""

from datetime import timedelta
from typing import Final

from db.postgres import Connection

RESEND_AFTER: Final = timedelta(minutes=10)


async def request_export(connection: Connection, period: str, again: timedelta = RESEND_AFTER) -> bool:
    """Request this day's export; returns whether a message must be sent to the trainers.

    That is so for the first request, and while the export is unfinished when `again` has passed since the last message.
    """
    return bool(
        await connection.fetchval(
            "INSERT INTO lake_exports (period) VALUES ($1) ON CONFLICT (period) DO UPDATE SET told_at = now()"
            " WHERE lake_exports.finished_at IS NULL AND lake_exports.told_at <= now() - $2::interval RETURNING true",
            period,
            again,
        )
    )


async def export_is_pending(connection: Connection, period: str) -> bool:
    """Whether this day's export was requested and is not finished."""
    return bool(
        await connection.fetchval("SELECT true FROM lake_exports WHERE period = $1 AND finished_at IS NULL", period)
    )


async def finish_export(connection: Connection, period: str) -> None:
    """Record that this day's export is finished."""
    await connection.execute("UPDATE lake_exports SET finished_at = now() WHERE period = $1", period)
