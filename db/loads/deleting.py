"""Which events only one load names, and how they are deleted from Postgres."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from db.lake.event_keys import KEYS, EventKeys
from db.loads.manifests import Manifest
from db.loads.records import count_taken_back

AT_ONCE: Final = 500_000  # keys in memory: each other manifest is read once for so many
IN_A_TRANSACTION: Final = 10_000  # events
_DELETE: Final = """
    WITH deleted AS (
        DELETE FROM events USING unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[])
            AS named (source, id, occurred_at, digest)
        WHERE (events.source, events.id, events.occurred_at) = (named.source, named.id, named.occurred_at)
            AND events.digest = named.digest AND events.received_at IS NULL
        RETURNING 1
    ) SELECT count(*) FROM deleted
"""


class Batch(NamedTuple):
    """Keys that only one load names, of so many that were read."""

    keys: EventKeys
    read: int


def only_named_by(manifest: Manifest, others: Sequence[Manifest]) -> Iterator[Batch]:
    """The keys of a manifest that none of the others names, some at a time. Raises StoreUnavailable."""
    for every in _gathered(manifest):
        keys = every
        for other in others:
            named = [rows.filter(pa.array(keys.among(rows))) for rows in other.rows()]
            keys = keys.without(pa.concat_tables([KEYS.empty_table(), *named]))
        yield Batch(keys, len(every))


def _gathered(manifest: Manifest) -> Iterator[EventKeys]:
    waiting, count = list[pa.Table](), 0
    for rows in manifest.rows():
        waiting.append(rows)
        count += len(rows)
        if count >= AT_ONCE:
            yield EventKeys(pa.concat_tables(waiting))
            waiting, count = [], 0
    if waiting:
        yield EventKeys(pa.concat_tables(waiting))


async def delete_loaded(connection: Any, id: str, keys: EventKeys) -> int:
    """Delete these events of the load `id`, and count them in its row; returns how many there were.

    An event that a gateway received stays, also if a file names it. The connection is outside a transaction.
    """
    deleted = 0
    for start in range(0, len(keys), IN_A_TRANSACTION):
        columns = [column.to_pylist() for column in keys.table.slice(start, IN_A_TRANSACTION).columns]
        async with connection.transaction():
            # The nested loop over the primary key does not read partitions as a whole.
            await connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
            gone = await connection.fetchval(_DELETE, *columns)
            await count_taken_back(connection, id, gone)
        deleted += gone
    return deleted
