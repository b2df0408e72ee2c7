"""How often clients used deprecated parts of the schema: a row per client, part and day. No person is named."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from db.postgres import Connection

DAYS_KEPT: Final = 180


class DeprecatedUse(NamedTuple):
    """A part that a client used. `operations` are those of the days since `since`."""

    part: str
    client_id: str
    operations: int
    since: date
    last_used_at: datetime


async def store_deprecated_uses(connection: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add operations by (client id, part) to those of today; old days are deleted."""
    pairs = sorted(counts)  # in one order, so that two processes do not wait for each other in a ring
    await connection.execute(
        """INSERT INTO deprecated_uses (client_id, part, day, operations)
           SELECT client_id, part, (now() AT TIME ZONE 'UTC')::date, times
           FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS new (client_id, part, times, place)
           ORDER BY place
           ON CONFLICT (client_id, part, day)
           DO UPDATE SET operations = deprecated_uses.operations + excluded.operations, last_used_at = now()""",
        [client_id for client_id, _ in pairs],
        [part for _, part in pairs],
        [counts[pair] for pair in pairs],
    )
    await connection.execute(
        "DELETE FROM deprecated_uses WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer", DAYS_KEPT
    )


async def list_deprecated_uses(connection: Connection, days: int, client_id: str | None = None) -> list[DeprecatedUse]:
    """The uses of the last `days` days, of one client or of all: by part, then the client with the latest use first."""
    rows = await connection.fetch(
        """SELECT part, client_id, sum(operations)::bigint AS operations, min(day) AS since,
                  max(last_used_at) AS last_used_at
           FROM deprecated_uses
           WHERE day > (now() AT TIME ZONE 'UTC')::date - $1::integer AND ($2::text IS NULL OR client_id = $2)
           GROUP BY part, client_id ORDER BY part, max(last_used_at) DESC, client_id""",
        days,
        client_id,
    )
    return [DeprecatedUse(**row) for row in rows]
