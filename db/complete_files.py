"""What a complete file of items leaves out: found before anything is stored, made unavailable afterwards.

The ids are in temporary tables of the connection. An offer that was made unavailable so has the key `omitted`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

_AT_ONCE: Final = 2_000  # items in one transaction: other writers of items wait for it
_AVAILABLE: Final = "removed_at IS NULL AND (offers = '[]' OR offers @> '[{\"available\": true}]')"
_ADDED: Final = '{"market": null, "price": null, "listPrice": null, "currency": null, "omitted": "added"}'


class Omitted(NamedTuple):
    """How many items are available, and how many of them the file leaves out."""

    available: int
    omitted: int


async def begin_file(connection: Connection) -> None:
    """Forget the ids of an earlier file on this connection."""
    await connection.execute("DROP TABLE IF EXISTS pg_temp.named, pg_temp.omitted")
    await connection.execute("CREATE TEMPORARY TABLE named (id text)")


async def add_named(connection: Connection, ids: Sequence[str]) -> None:
    """Note that the file names these items."""
    await connection.execute("INSERT INTO pg_temp.named SELECT unnest($1::text[])", list(ids))


async def find_omitted(connection: Connection) -> Omitted:
    """Find the available items that the file does not name."""
    await connection.execute(
        "CREATE TEMPORARY TABLE omitted AS SELECT id, changed_seq, row_number() OVER (ORDER BY id) AS place FROM items"
        f" WHERE {_AVAILABLE} AND NOT EXISTS (SELECT FROM pg_temp.named WHERE named.id = items.id)"
    )
    available = await connection.fetchval(f"SELECT count(*) FROM items WHERE {_AVAILABLE}")
    return Omitted(available, await connection.fetchval("SELECT count(*) FROM pg_temp.omitted"))


async def stream_omitted(connection: Connection, at_once: int = 50_000) -> AsyncIterator[list[str]]:
    """The ids of the items found by `find_omitted`."""
    start = 0
    while rows := await connection.fetch(
        "SELECT id FROM pg_temp.omitted WHERE place > $1 AND place <= $1 + $2 ORDER BY place", start, at_once
    ):
        yield [row["id"] for row in rows]
        start += at_once


async def make_omitted_unavailable(connection: Connection) -> int:
    """Make the items found by `find_omitted` unavailable, but for those that changed since. Returns how many."""
    last = await connection.fetchval("SELECT count(*) FROM pg_temp.omitted")
    made = 0
    for start in range(0, last, _AT_ONCE):
        async with transaction(connection) as inside:
            await lock_transaction(inside, AdvisoryLock.ITEM_WRITERS)
            rows = await inside.fetch(
                f"""
                UPDATE items SET offers = (
                    SELECT jsonb_agg(
                        CASE WHEN offer->'available' = 'false' THEN offer
                        ELSE '{{"omitted": true}}' || offer || '{{"available": false}}' END ORDER BY place
                    )
                    FROM jsonb_array_elements(CASE WHEN offers = '[]' THEN '[{_ADDED}]' ELSE offers END)
                    WITH ORDINALITY AS each(offer, place)
                )
                FROM pg_temp.omitted WHERE omitted.id = items.id AND omitted.changed_seq = items.changed_seq
                AND omitted.place > $1 AND omitted.place <= $2 RETURNING items.id
                """,
                start, start + _AT_ONCE,
            )  # fmt: skip
        made += len(rows)
    return made


async def make_named_available(connection: Connection) -> int:
    """Make the items that the file names available again, if an earlier file left them out. Returns how many."""
    made = 0
    while True:
        async with transaction(connection) as inside:
            await lock_transaction(inside, AdvisoryLock.ITEM_WRITERS)
            rows = await inside.fetch(
                f"""
                UPDATE items SET offers = (
                    SELECT coalesce(jsonb_agg(
                        CASE WHEN offer ? 'omitted' THEN offer - 'omitted' || '{{"available": true}}' ELSE offer END
                        ORDER BY place), '[]')
                    FROM jsonb_array_elements(offers) WITH ORDINALITY AS each(offer, place)
                    WHERE NOT offer @> '{_ADDED}'
                )
                WHERE id IN (
                    SELECT id FROM items JOIN pg_temp.named USING (id)
                    WHERE offers @> '[{{"omitted": true}}]' OR offers @> '[{{"omitted": "added"}}]' LIMIT {_AT_ONCE}
                )
                RETURNING id
                """
            )
        made += len(rows)
        if not rows:
            return made
