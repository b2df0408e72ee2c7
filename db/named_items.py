"""Which ids of items the catalogue knows, and what events name instead."""

from collections.abc import Sequence
from typing import Final

from db.postgres import Connection, Pool

SAMPLE: Final = 10_000  # events
_EXAMPLES: Final = 3
_NAMED = f"""
    WITH sample AS (
        SELECT item_id FROM events WHERE item_id IS NOT NULL AND ($1::text IS NULL OR type::text = $1) LIMIT {SAMPLE}
    ), named AS (SELECT item_id, count(*) AS lines FROM sample GROUP BY item_id)
    SELECT item_id, lines, items.id IS NOT NULL AS known FROM named LEFT JOIN items ON items.id = item_id
    ORDER BY lines DESC, item_id
"""
_INSIDE = """
    SELECT items.id, other FROM items, unnest($1::text[]) AS other
    WHERE items.id <> other AND least(length(items.id), length(other)) > 1
        AND (right(items.id, length(other)) = other OR right(other, length(items.id)) = items.id)
    LIMIT 1
"""


async def known_items(connection: Connection | Pool, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the catalogue has, removed items too."""
    return {row["id"] for row in await connection.fetch("SELECT id FROM items WHERE id = ANY($1)", list(ids))}


async def example_items(connection: Connection | Pool) -> list[str]:
    """A few ids of the catalogue."""
    rows = await connection.fetch("SELECT id FROM items WHERE removed_at IS NULL ORDER BY id LIMIT $1", _EXAMPLES)
    return [row["id"] for row in rows]


async def items_in_any_case(connection: Connection | Pool, ids: Sequence[str]) -> list[str]:
    """An item whose id is one of these in other letter case, if there is one."""
    lowered = [id.lower() for id in ids]
    rows = await connection.fetch("SELECT id FROM items WHERE lower(id) = ANY($1) LIMIT 1", lowered)
    return [row["id"] for row in rows]


async def items_with_another_start(connection: Connection | Pool, ids: Sequence[str]) -> list[tuple[str, str]]:
    """An item and one of these ids, if one of both ends with the other."""
    return [(row["id"], row["other"]) for row in await connection.fetch(_INSIDE, list(ids))]


async def sample_of_named(connection: Connection | Pool, type: str | None = None) -> tuple[int, int, list[str]]:
    """Of some stored events: how many name an item of the catalogue, how many another, and what these name most."""
    rows = await connection.fetch(_NAMED, type)
    known = sum(row["lines"] for row in rows if row["known"])
    unknown = [row["item_id"] for row in rows if not row["known"]]
    return known, sum(row["lines"] for row in rows) - known, unknown[:_EXAMPLES]


async def events_by_type(connection: Connection | Pool) -> dict[str, int]:
    """How many events of each type are stored, the most first."""
    rows = await connection.fetch(
        "SELECT type::text AS type, count(*) AS lines FROM events GROUP BY type ORDER BY lines DESC, type"
    )
    return {row["type"]: row["lines"] for row in rows}
