"""Erasures: the user as a keyed hash, the time, and a report per store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from core.contract import Person
from db.deletion import DeletedData, delete_people
from db.merged_users import lock_owner
from db.postgres import Connection, transaction
from db.receipts import PersonStore, StoreReport, StoreState, initial_reports
from db.tombstones import HASH_OF_GIVEN, ensure_key, hash_input, insert_tombstones

_ERASURE: Final = "erasures.id, erased_at, requested_by, stores, people, completed_at"
# These stores are searched by the person's id: it is kept until all of them are done.
_BY_ID: Final = (
    PersonStore.POSTGRES,
    PersonStore.REDIS,
    PersonStore.QUEUE,
    PersonStore.DEAD_EVENTS,
    PersonStore.LAKE,
)
_PENDING: Final = (
    "EXISTS (SELECT FROM jsonb_each(stores || $3) AS store WHERE store.value ->> 'status' = 'PENDING' AND ({which}))"
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """The receipt of an erasure. `people` are those whose data some store still holds."""

    id: UUID
    erased_at: datetime
    requested_by: str
    stores: dict[PersonStore, StoreReport]
    people: list[Person]
    completed_at: datetime | None

    def is_pending(self, store: PersonStore) -> bool:
        """Whether this store is not done yet."""
        return self.stores[store].status is StoreState.PENDING


async def begin_erasure(connection: Connection, user_id: str, by: str, now: datetime) -> tuple[Erasure, DeletedData]:
    """Erase a user, their guests and old ids from Postgres in one transaction, and reject events from before `now`.

    A user who was erased before keeps their receipt; it reports this erasure from now on.
    """
    return await begin_erasure_of(connection, Person("user", user_id), by, now)


async def begin_erasure_of(
    connection: Connection, person: Person, by: str, now: datetime
) -> tuple[Erasure, DeletedData]:
    """The same for any person. Of a guest who was joined to a user, what the guest did since is erased."""
    async with transaction(connection) as inside:
        people = [person] if person.kind == "guest" else await _whole_user(inside, person.id)
        await ensure_key(inside)
        await insert_tombstones(inside, people, now)
        deleted = await delete_people(inside, people)
        row = await inside.fetchrow(
            "INSERT INTO erasures (person, erased_at, requested_by, stores, people)"
            f" SELECT {HASH_OF_GIVEN}, $2, $3, $4, $5"
            " FROM unnest($1::text[]) AS given (name)"
            " ON CONFLICT (person) DO UPDATE SET erased_at = greatest(erasures.erased_at, EXCLUDED.erased_at),"
            " requested_by = EXCLUDED.requested_by,"
            " people = ARRAY(SELECT DISTINCT unnest(erasures.people || EXCLUDED.people)), completed_at = NULL,"
            " stores = EXCLUDED.stores"
            f" RETURNING {_ERASURE}",
            [hash_input(person)],
            now,
            by,
            initial_reports(now),
            [hash_input(person) for person in people],
        )
    return _erasure(row), deleted._replace(others=deleted.others + len(people) - 1)


async def _whole_user(connection: Connection, user_id: str) -> list[Person]:
    """The user, their guests and old ids, who belong to nobody from now on."""
    owner = await lock_owner(connection, user_id)
    joined = await connection.fetch(
        "WITH guests AS (DELETE FROM identities WHERE user_id = $1 RETURNING anonymous_id),"
        " merged AS (DELETE FROM merged_users WHERE into_id = $1 RETURNING user_id)"
        " SELECT 'guest' AS kind, anonymous_id AS id FROM guests UNION ALL SELECT 'user', user_id FROM merged",
        owner,
    )
    return [Person("user", owner), *(Person(row["kind"], row["id"]) for row in joined)]


async def update_stores(
    connection: Connection, erasure: Erasure, reports: Mapping[PersonStore, StoreReport]
) -> Erasure | None:
    """Write the reports of these stores, and delete the ids once no store needs them.

    Returns None when the user was erased again meanwhile: that erasure has reports of its own.
    """
    row = await connection.fetchrow(
        "UPDATE erasures SET stores = stores || $3,"
        f" people = CASE WHEN {_PENDING.format(which='store.key = ANY($4::text[])')} THEN people END,"
        f" completed_at = CASE WHEN {_PENDING.format(which='true')} THEN NULL ELSE coalesce(completed_at, now()) END"
        f" WHERE id = $1 AND erased_at = $2 RETURNING {_ERASURE}",
        erasure.id,
        erasure.erased_at,
        {store.value: report.as_json() for store, report in reports.items()},
        [store.value for store in _BY_ID],
    )
    return None if row is None else _erasure(row)


async def open_erasures(connection: Connection, trained: datetime | None) -> list[Erasure]:
    """Erasures that some store is not done with, oldest first, without those that wait only for a later training."""
    rows = await connection.fetch(
        f"SELECT {_ERASURE} FROM erasures WHERE completed_at IS NULL"
        " AND (people IS NOT NULL OR $1::timestamptz IS NULL OR erased_at < $1) ORDER BY erased_at",
        trained,
    )
    return [_erasure(row) for row in rows]


async def overdue_erasures(connection: Connection, before: datetime) -> int:
    """How many erasures from before this moment are unfinished, without those that wait only for a training."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM erasures WHERE completed_at IS NULL AND people IS NOT NULL AND erased_at < $1", before
    )
    return count


async def erasures_by_ids(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Erasure]:
    """The receipts with these ids, by id; those that are not there are left out."""
    rows = await connection.fetch(f"SELECT {_ERASURE} FROM erasures WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: _erasure(row) for row in rows}


async def erasure_of(connection: Connection, user_id: str) -> Erasure | None:
    """The receipt of this user, if they were erased."""
    row = await connection.fetchrow(
        f"SELECT {_ERASURE} FROM unnest($1::text[]) AS given (name) JOIN erasures ON person = {HASH_OF_GIVEN}",
        [hash_input(Person("user", user_id))],
    )
    return None if row is None else _erasure(row)


async def outbox_holds_from_before(connection: Connection, since: datetime) -> bool:
    """Whether the outbox holds an envelope from before this moment."""
    waits: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE created_at <= $1)", since)
    return waits


async def oldest_training(connection: Connection) -> datetime | None:
    """When the training of the oldest bundle that serves began; None when no bundle serves.

    Refreshed tables know nobody who was erased, but their weights are those of the model they come from.
    """
    began: datetime | None = await connection.fetchval(
        "SELECT min(least(fitted.created_at, started_at)) FROM serving JOIN models ON models.id = serving.bundle"
        " JOIN models AS fitted ON fitted.id = coalesce(models.refreshed_from, models.id)"
        " LEFT JOIN training_jobs ON training_jobs.bundle = fitted.id WHERE slot <> 'anchor'"
    )
    return began


def _erasure(row: Any) -> Erasure:
    people = [cast("list[str]", name.split(":", 1)) for name in row["people"] or ()]
    return Erasure(
        row["id"],
        row["erased_at"],
        row["requested_by"],
        {store: StoreReport.from_json(row["stores"][store]) for store in PersonStore},
        [Person(cast(Any, kind), id) for kind, id in people],
        row["completed_at"],
    )
