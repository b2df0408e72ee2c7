"""Deletes the data of people from Postgres, a bounded number of events at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from core.contract import Person, identity_of
from db.accounts import delete_accounts
from db.authorizations import erase_families
from db.choices import delete_choices
from db.dead_events import erase_dead_events
from db.postgres import Connection
from db.receipts import PersonStore, StoreReport, StoreState
from db.requests import anonymize_requests
from db.segments import erase_members

MOST_AT_ONCE: Final = 10_000  # events erased in one transaction
_WHOSE: Final = {
    "user": "user_id = ANY($1::text[])",
    "guest": "anonymous_id = ANY($1::text[]) AND user_id IS NULL",
}


class DeletedData(NamedTuple):
    """The outcome of one deletion: identities of the deleted events, and counts of other rows.

    `incomplete` says that more events are left.
    """

    identities: list[int]
    others: int
    dead: int
    incomplete: bool

    @property
    def any(self) -> bool:
        """Whether anything was deleted."""
        return bool(self.identities) or self.others > 0

    def reports(self, now: datetime) -> dict[PersonStore, StoreReport]:
        """The report of Postgres on the receipt; none while the deletion is incomplete."""
        if self.incomplete:
            return {}
        return {PersonStore.POSTGRES: StoreReport(StoreState.ERASED if self.any else StoreState.NOTHING_HELD, now)}


async def delete_people(
    connection: Connection, people: Sequence[Person], before: datetime | None = None
) -> DeletedData:
    """Delete the data of these people from Postgres; with `before`, only their events and choices from before it."""
    identities: list[int] = []
    incomplete = False
    for kind, whose in _WHOSE.items():
        ids = [person.id for person in people if person.kind == kind]
        rows, more = await _delete_events(connection, whose, ids, before) if ids else ([], False)
        identities += [identity_of(*row) for row in rows]
        incomplete |= more
    users = [person.id for person in people if person.kind == "user"]
    others = 0 if before else await _delete_traits(connection, users)
    others += await delete_choices(connection, people, before)
    return DeletedData(identities, others, await erase_dead_events(connection, people, before), incomplete)


async def _delete_events(
    connection: Connection, whose: str, ids: Sequence[str], before: datetime | None
) -> tuple[list[Any], bool]:
    """Delete the oldest MOST_AT_ONCE events. Returns their keys, and whether more are left."""
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


async def _delete_traits(connection: Connection, users: Sequence[str]) -> int:
    """Delete traits, accounts and grants, and replace the users' ids where they are recorded as requesters."""
    tag = await connection.execute("DELETE FROM users WHERE id = ANY($1::text[])", users)
    accounts = await delete_accounts(connection, users)
    grants = await erase_families(connection, users) + await erase_members(connection, users)
    return int(tag.rpartition(" ")[2]) + accounts + grants + await anonymize_requests(connection, users)
