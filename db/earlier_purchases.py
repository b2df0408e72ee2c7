"""What was bought at any time, for a shop in which nobody bought anything lately. Returns do not count."""

from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from db.postgres import Connection

# A person counts once for an item: by their last purchase of it, halved every half-life. Beyond 1,000 halvings it would
# be too small for a double.
_EARLIER = """
    SELECT number
    FROM (
        SELECT item_id,
            sum(power(0.5::float8, least(extract(epoch FROM $1::timestamptz - latest)::float8 / $2, 1000))) AS people
        FROM (
            SELECT item_id, max(occurred_at) AS latest FROM events WHERE type = 'PURCHASE' AND item_id IS NOT NULL
            GROUP BY item_id, coalesce('u' || user_id, 'g' || anonymous_id)
        ) AS bought GROUP BY item_id
    ) AS counted JOIN items ON items.id = item_id AND removed_at IS NULL
    ORDER BY people DESC, number LIMIT $3
"""


async def items_bought_earlier(
    connection: Connection, as_of: datetime, half_life: timedelta, limit: int, *, timeout: float | None = None
) -> NDArray[np.uint32]:
    """The numbers of live items by the decayed count of the people who bought them at any time, most first."""
    rows = await connection.fetch(_EARLIER, as_of, half_life.total_seconds(), limit, timeout=timeout)
    return np.array([row["number"] for row in rows], np.uint32)
