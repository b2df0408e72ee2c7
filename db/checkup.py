"""The state of Postgres and of our schema in it, for `penchant doctor`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db.postgres import Connection, SchemaOutdated, transaction


@dataclass(frozen=True, slots=True)
class Server:
    """A Postgres server: `number` is its version as 180001, `now` its clock, and its connections."""

    version: str
    number: int
    now: datetime
    connections: int
    most_connections: int


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """How many envelopes wait in the outbox, and how long the oldest has waited."""

    messages: int
    oldest: timedelta


async def server(connection: Connection) -> Server:
    """The server of this connection."""
    row = await connection.fetchrow(
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,"
        " clock_timestamp() AS now, current_setting('max_connections')::int AS most_connections,"
        " (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections"
    )
    return Server(**row)


async def check_space(connection: Connection) -> None:
    """Let Postgres write a temporary file of some 300 kB. Raises StoreFull when its disk is full.

    No other small write needs new space for sure: a row may go into a page, and the log into a file, that exist. Where
    `temp_tablespaces` puts temporary files elsewhere, this is the space there.
    """
    async with transaction(connection) as held:
        await held.execute("SET LOCAL work_mem = '64kB'")
        await held.execute("SELECT count(*) FROM generate_series(1, 20000)")


async def revision(connection: Connection) -> str | None:
    """The schema's revision; None when there is no schema of ours."""
    try:
        found: str | None = await connection.fetchval("SELECT version_num FROM penchant_version")
    except SchemaOutdated:
        return None
    return found


async def missing_months(connection: Connection, earliest: datetime, latest: datetime) -> list[str]:
    """Months between these moments that have no partition of events, as 2026_01."""
    rows = await connection.fetch(
        "SELECT to_char(month, 'YYYY_MM') AS name FROM generate_series("
        " date_trunc('month', $1 AT TIME ZONE 'UTC'), $2 AT TIME ZONE 'UTC', interval '1 month') AS month"
        " WHERE to_regclass('events_' || to_char(month, 'YYYY_MM')) IS NULL ORDER BY month",
        earliest,
        latest,
    )
    return [row["name"] for row in rows]


async def outbox(connection: Connection) -> OutboxBacklog:
    """The envelopes that the broker has not taken yet."""
    row = await connection.fetchrow(
        "SELECT count(*) AS messages, coalesce(now() - min(created_at), interval '0') AS oldest FROM outbox"
    )
    return OutboxBacklog(**row)
