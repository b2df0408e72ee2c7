"""Features of people from Postgres, by a portable text; from the lake it is db/lake/person_features.py that runs it."""

from datetime import datetime
from pathlib import Path
from typing import Any

from db.postgres import Connection, Pool
from db.purchases import BULK_TIMEOUT

CATEGORIES = """
    SELECT id COLLATE "C" AS item_id, categories[cardinality(categories)] COLLATE "C" AS category
    FROM items WHERE cardinality(categories) > 0
"""


def facts_before(as_of: datetime) -> str:
    """The query for events before a moment, as `ml.features.person` wants them."""
    return f"""
    SELECT CASE WHEN user_id IS NULL THEN 'guest:' || anonymous_id ELSE 'user:' || user_id END COLLATE "C" AS person,
        type::text COLLATE "C" AS type, item_id COLLATE "C" AS item_id, order_id COLLATE "C" AS order_id,
        session_id COLLATE "C" AS session_id, (extract(epoch FROM occurred_at) * 1000000)::bigint AS micros,
        floor(extract(epoch FROM occurred_at))::bigint AS second, coalesce(quantity, 1)::bigint AS units,
        round(CASE WHEN type = 'RATING' THEN coalesce(value, 0)
                   ELSE coalesce(unit_price * coalesce(quantity, 1), value, 0) END * 100)::bigint AS cents
    FROM events WHERE item_id IS NOT NULL AND occurred_at < '{as_of.isoformat()}'::timestamptz
    """


async def write_csv(pool: Pool, query: str, path: Path) -> None:
    """The rows of a query as a CSV file with a header."""
    async with pool.acquire(timeout=BULK_TIMEOUT) as connection:
        raw: Any = connection
        await raw.copy_from_query(query, output=path, format="csv", header=True, timeout=BULK_TIMEOUT)


async def item_categories(connection: Connection) -> dict[str, str]:
    """The last, most specific category of each item by its id."""
    return {row["item_id"]: row["category"] for row in await connection.fetch(CATEGORIES, timeout=BULK_TIMEOUT)}
