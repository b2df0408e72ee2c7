"""Exports that are due: asked for once a day, and again while nobody has finished them."""

from datetime import timedelta
from typing import Final

from db.postgres import Connection

AGAIN: Final = timedelta(minutes=10)


async def request_export(connection: Connection, period: str, again: timedelta = AGAIN) -> bool:
    """Whether to tell the trainers of this day's export: nobody was told yet, or not for a while and it is not done."""
    return bool(
        await connection.fetchval(
            "INSERT INTO lake_exports (period) VALUES ($1) ON CONFLICT (period) DO UPDATE SET told_at = now()"
            " WHERE lake_exports.finished_at IS NULL AND lake_exports.told_at <= now() - $2::interval RETURNING true",
            period,
            again,
        )
    )


async def export_is_pending(connection: Connection, period: str) -> bool:
    """Whether this day's export was asked for and is not done."""
    return bool(
        await connection.fetchval("SELECT true FROM lake_exports WHERE period = $1 AND finished_at IS NULL", period)
    )


async def finish_export(connection: Connection, period: str) -> None:
    """This day's export is done."""
    await connection.execute("UPDATE lake_exports SET finished_at = now() WHERE period = $1", period)
