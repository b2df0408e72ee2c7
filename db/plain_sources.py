"""Events that were stored before sources had namespaces: the same event sent again is not stored twice.

Whose they were is not known. So only the same body makes a duplicate: nobody can block an event of another sender.
"""

from collections.abc import Sequence
from datetime import datetime

from core.contract import Event
from core.sources import sources_of_other_release
from db.postgres import Connection


async def plain_sources_until(connection: Connection) -> datetime | None:
    """Before which moment events occurred that may be stored under a plain source; None when there are none."""
    until: datetime | None = await connection.fetchval("SELECT until FROM plain_sources")
    return until


async def stored_by_other_release(connection: Connection, events: Sequence[Event], until: datetime | None) -> set[int]:
    """The positions of events that are stored with the same body, but as another release writes their source.

    `until` is the result of `plain_sources_until`: only events from before it are looked up.
    """
    if until is None:
        return set()
    asked = [
        (at, source, event.id, event.occurred_at, event.digest)
        for at, event in enumerate(events)
        if event.occurred_at < until
        for source in sources_of_other_release(event.source, event.as_sent.person)
    ]
    if not asked:
        return set()
    rows = await connection.fetch(
        """
        SELECT place FROM unnest($1::integer[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
            AS given (place, source, id, occurred_at, digest)
        WHERE digest = (  -- a join may read whole months: this looks each event up by the primary key
            SELECT stored.digest FROM events AS stored
            WHERE (stored.source, stored.id, stored.occurred_at) = (given.source, given.id, given.occurred_at)
        )
        """,
        *([list(column) for column in zip(*asked, strict=True)]),
    )
    return {row["place"] for row in rows}
