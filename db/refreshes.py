"""Whether the tables of what serves lack items that came into the catalogue after they were made."""

from datetime import timedelta
from typing import Final

from db.jobs import REFRESH
from db.postgres import Connection
from db.serving import MAIN_SLOT

REST: Final = 5  # a refresh rests at least so many times as long as the one before took


async def lacks_new_items(connection: Connection, pause: timedelta) -> bool:
    """Whether a refresh would add an item: the newest one is younger than the last refresh, which ended a while ago.

    The pause is between the end of one refresh and the next. A model that has not learned words ranks no new items.
    """
    found: bool = await connection.fetchval(
        """
        SELECT newest.created_at > coalesce(last.started_at, serving.changed_at)
            AND (last.started_at IS NULL OR last.finished_at IS NOT NULL
                AND now() > last.finished_at + greatest($2::interval, $3 * (last.finished_at - last.started_at)))
        FROM serving JOIN models ON models.id = serving.bundle
        CROSS JOIN LATERAL (
            SELECT created_at FROM items WHERE removed_at IS NULL ORDER BY number DESC LIMIT 1
        ) AS newest
        LEFT JOIN LATERAL (
            SELECT started_at, finished_at FROM training_jobs WHERE kind = $4 ORDER BY id DESC LIMIT 1
        ) AS last ON true
        WHERE serving.slot = $1 AND models.training->>'knows_words' IS DISTINCT FROM 'false'
            AND NOT EXISTS (SELECT FROM training_jobs WHERE kind = $4 AND state IN ('QUEUED', 'RUNNING'))
        """,
        MAIN_SLOT,
        pause,
        REST,
        REFRESH,
    )
    return bool(found)
