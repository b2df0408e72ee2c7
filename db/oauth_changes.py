"""What changed in the OAuth tables: gateways keep some of them in memory, and read here what is new.

A change is found by the transaction that made it. Transactions become visible in another order than they begin: a
reader that went on from the last number it saw would miss the ones that were still open. So it goes on from the oldest
transaction that was open at its last read, and sees some changes again, until that one has ended.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from db.postgres import Connection

MOST: Final = 5000  # changes of one read
KEPT: Final = timedelta(minutes=15)
MOST_DELETED: Final = 10_000  # in one statement


class NewChanges(NamedTuple):
    """What changed since a read, and the place from which to read on. `complete`: these are all.

    `numbers` are those of all changes, `kinds` those of the changes that were not known.
    """

    next: int
    complete: bool
    numbers: list[int]
    kinds: frozenset[str]
    tokens: list[str]
    families: list[str]


async def oldest_open(connection: Connection) -> int:
    """The place from which to read changes that become visible from now on."""
    place: int = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return place


async def list_changes(connection: Connection, since: int, known: Sequence[int] = ()) -> NewChanges:
    """The changes that have become visible since `since`, and maybe some from before, whose numbers may be `known`.

    At most MOST.
    """
    row = await connection.fetchrow(
        """WITH new AS MATERIALIZED (
               SELECT number, kind, id FROM oauth_changes WHERE changed_in >= $1 ORDER BY changed_in LIMIT $2)
           SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS next,
               (SELECT count(*) FROM new) < $2 AS complete,
               ARRAY(SELECT number FROM new) AS numbers,
               ARRAY(SELECT DISTINCT kind FROM new WHERE number <> ALL($3::bigint[])) AS kinds,
               ARRAY(SELECT id FROM new WHERE kind = 'token') AS tokens,
               ARRAY(SELECT id FROM new WHERE kind = 'family') AS families""",
        since,
        MOST,
        known,
    )
    # A database that was restored counts its transactions anew, from a lower number.
    complete = row["complete"] and row["next"] >= since
    return NewChanges(row["next"], complete, row["numbers"], frozenset(row["kinds"]), row["tokens"], row["families"])


async def delete_old_changes(connection: Connection) -> int:
    """Delete changes that every gateway has read, at most MOST_DELETED; returns how many."""
    tag: str = await connection.execute(
        """DELETE FROM oauth_changes WHERE number IN (
               SELECT number FROM oauth_changes WHERE changed_at < now() - $1::interval LIMIT $2
               FOR UPDATE SKIP LOCKED)""",
        KEPT,
        MOST_DELETED,
    )
    return int(tag.rpartition(" ")[2])
