"""Sweeps: what Postgres holds of people is erased, a bounded number of events at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from core.contract import Person, identity_of
from db.asked import forget_askers
from db.dead_events import erase_dead
from db.postgres import Connection
from db.receipts import PersonStore, StoreState, Told

MOST_AT_ONCE: Final = 10_000  # events erased in one transaction
_WHOSE: Final = {
    "user": "user_id = ANY($1::text[])",
    "guest": "anonymous_id = ANY($1::text[]) AND user_id IS NULL",
}


class Swept(NamedTuple):
    """What one sweep erased; `rest` says that there is more. `identities` are those of the events."""

    identities: list[int]
    others: int
    dead: int
    rest: bool

    @property
    def found(self) -> bool:
        """Whether there was anything."""
        return bool(self.identities) or self.others > 0

    def told(self, now: datetime) -> dict[PersonStore, Told]:
        """How far Postgres is after it."""
        if self.rest:
            return {}
        return {PersonStore.POSTGRES: Told(StoreState.ERASED if self.found else StoreState.NOTHING_HELD, now)}


async def sweep(connection: Connection, people: Sequence[Person], before: datetime | None = None) -> Swept:
    """Erase what Postgres holds of these people, of events only those from before a moment where one is given."""
    identities: list[int] = []
    rest = False
    for kind, whose in _WHOSE.items():
        ids = [person.id for person in people if person.kind == kind]
        rows, more = await _erase_events(connection, whose, ids, before) if ids else ([], False)
        identities += [identity_of(*row) for row in rows]
        rest |= more
    users = [person.id for person in people if person.kind == "user"]
    others = 0 if before else await _erase_described(connection, users)
    return Swept(identities, others, await erase_dead(connection, people, before), rest)


async def _erase_events(
    connection: Connection, whose: str, ids: Sequence[str], before: datetime | None
) -> tuple[list[Any], bool]:
    """The oldest MOST_AT_ONCE; says which, and whether there are more."""
    theirs = f"FROM events WHERE {whose} AND ($2::timestamptz IS NULL OR least(occurred_at, received_at) < $2)"
    rows = await connection.fetch(
        f"DELETE FROM events USING (SELECT source, id, occurred_at {theirs} ORDER BY occurred_at LIMIT $3) AS oldest"
        " WHERE events.source = oldest.source AND events.id = oldest.id AND events.occurred_at = oldest.occurred_at"
        " RETURNING events.source, events.id, events.occurred_at",
        ids,
        before,
        MOST_AT_ONCE,
    )
    full = len(rows) == MOST_AT_ONCE
    return rows, full and await connection.fetchval(f"SELECT EXISTS (SELECT {theirs})", ids, before)


async def _erase_described(connection: Connection, users: Sequence[str]) -> int:
    """Traits, and the name in the record of what the person's own token asked for."""
    tag = await connection.execute("DELETE FROM users WHERE id = ANY($1::text[])", users)
    return int(tag.rpartition(" ")[2]) + await forget_askers(connection, users)
