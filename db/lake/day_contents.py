"""The contents of a day in Postgres as a count and one checksum: any change of the day changes them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.postgres import Connection

TIMEOUT: Final = 3600.0  # seconds; a scan of the largest month, or the export of the largest day
MARK: Final = "hash_record_extended(ROW(source, id, occurred_at, digest), 0)"
DAY: Final = timedelta(days=1)
_LOW: Final = np.int64(0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class DayContents:
    """The number of events of a day, and the sum of their hashes, which does not depend on their order."""

    rows: int
    mark: str


def midnight(day: date) -> datetime:
    """The start of a day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def sum_of(hashes: NDArray[np.int64]) -> int:
    """The sum of the hashes, exact beyond 64 bits."""
    return (int((hashes >> 32).sum()) << 32) + int((hashes & _LOW).sum())


async def contents_by_day(connection: Connection, since: date, until: date) -> dict[date, DayContents]:
    """The contents of the days from `since` on and before `until` that have events: one scan of their months."""
    rows = await connection.fetch(
        f"SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS rows, sum({MARK})::text AS mark"
        " FROM events WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY 1 ORDER BY 1",
        midnight(since),
        midnight(until),
        timeout=TIMEOUT,
    )
    return {row["day"]: DayContents(row["rows"], row["mark"]) for row in rows}
