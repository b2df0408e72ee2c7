"""Erasures: who was erased as a keyed hash, when, and how far each store is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from core.contract import Person
from db.identities import lock_user
from db.postgres import Connection, transaction
from db.receipts import PersonStore, StoreState, Told, unbegun
from db.sweeps import Swept, sweep
from db.tombstones import HASH_OF_GIVEN, ensure_key, keep_out, name_of

_ERASURE: Final = "erasures.id, erased_at, requested_by, stores, people, completed_at"
# These are swept by the person's id: while one of them waits, the id is needed.
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
    """The receipt of an erasure. `people` are whom some store still has to be rid of."""

    id: UUID
    erased_at: datetime
    requested_by: str
    stores: dict[PersonStore, Told]
    people: list[Person]
    completed_at: datetime | None

    def waits(self, store: PersonStore) -> bool:
        """Whether this store is not done yet."""
        return self.stores[store].status is StoreState.PENDING


async def begin_erasure(connection: Connection, user_id: str, by: str, now: datetime) -> tuple[Erasure, Swept]:
    """Erase a user and the guests they were from Postgres, as one change, and keep out what they did before `now`.

    A user who was erased before keeps their receipt, which tells of this time as well.
    """
    async with transaction(connection) as inside:
        await lock_user(inside, user_id)
        await ensure_key(inside)
        guests = await inside.fetch("DELETE FROM identities WHERE user_id = $1 RETURNING anonymous_id", user_id)
        people = [Person("user", user_id), *(Person("guest", row["anonymous_id"]) for row in guests)]
        await keep_out(inside, people, now)
        swept = await sweep(inside, people)
        row = await inside.fetchrow(
            "INSERT INTO erasures (person, erased_at, requested_by, stores, people)"
            f" SELECT {HASH_OF_GIVEN}, $2, $3, $4, $5"
            " FROM unnest($1::text[]) AS given (name)"
            " ON CONFLICT (person) DO UPDATE SET erased_at = greatest(erasures.erased_at, EXCLUDED.erased_at),"
            " requested_by = EXCLUDED.requested_by,"
            " people = ARRAY(SELECT DISTINCT unnest(erasures.people || EXCLUDED.people)), completed_at = NULL,"
            " stores = EXCLUDED.stores"
            f" RETURNING {_ERASURE}",
            [name_of(people[0])],
            now,
            by,
            unbegun(now),
            [name_of(person) for person in people],
        )
    return _erasure(row), swept._replace(others=swept.others + len(guests))


async def tell_stores(connection: Connection, erasure: Erasure, told: Mapping[PersonStore, Told]) -> Erasure | None:
    """Write down how far these stores are, and forget the ids once nobody needs them; None when it was begun anew."""
    row = await connection.fetchrow(
        "UPDATE erasures SET stores = stores || $3,"
        f" people = CASE WHEN {_PENDING.format(which='store.key = ANY($4::text[])')} THEN people END,"
        f" completed_at = CASE WHEN {_PENDING.format(which='true')} THEN NULL ELSE coalesce(completed_at, now()) END"
        f" WHERE id = $1 AND erased_at = $2 RETURNING {_ERASURE}",
        erasure.id,
        erasure.erased_at,
        {store.value: one.written() for store, one in told.items()},
        [store.value for store in _BY_ID],
    )
    return None if row is None else _erasure(row)


async def open_erasures(connection: Connection, trained: datetime | None) -> list[Erasure]:
    """Erasures some store is not done with, the oldest first, but those that wait only for a later training."""
    rows = await connection.fetch(
        f"SELECT {_ERASURE} FROM erasures WHERE completed_at IS NULL"
        " AND (people IS NOT NULL OR $1::timestamptz IS NULL OR erased_at < $1) ORDER BY erased_at",
        trained,
    )
    return [_erasure(row) for row in rows]


async def overdue_erasures(connection: Connection, before: datetime) -> int:
    """How many erasures from before this moment some store is not done with, other than the next training."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM erasures WHERE completed_at IS NULL AND people IS NOT NULL AND erased_at < $1", before
    )
    return count


async def erasure_by_id(connection: Connection, id: UUID) -> Erasure | None:
    """The receipt with this id."""
    row = await connection.fetchrow(f"SELECT {_ERASURE} FROM erasures WHERE id = $1", id)
    return None if row is None else _erasure(row)


async def erasure_of(connection: Connection, user_id: str) -> Erasure | None:
    """The receipt of this user, if they were erased."""
    row = await connection.fetchrow(
        f"SELECT {_ERASURE} FROM unnest($1::text[]) AS given (name) JOIN erasures ON person = {HASH_OF_GIVEN}",
        [name_of(Person("user", user_id))],
    )
    return None if row is None else _erasure(row)


async def outbox_waits(connection: Connection, since: datetime) -> bool:
    """Whether the outbox holds a message from before this moment."""
    waits: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE created_at <= $1)", since)
    return waits


async def oldest_training(connection: Connection) -> datetime | None:
    """When the training began whose bundle serves and is the oldest of those that serve; None when none does."""
    began: datetime | None = await connection.fetchval(
        "SELECT min(least(created_at, started_at)) FROM serving JOIN models ON models.id = serving.bundle"
        " LEFT JOIN training_jobs ON training_jobs.bundle = models.id"
    )
    return began


def _erasure(row: Any) -> Erasure:
    people = [cast("list[str]", name.split(":", 1)) for name in row["people"] or ()]
    return Erasure(
        row["id"],
        row["erased_at"],
        row["requested_by"],
        {store: Told.read(row["stores"][store]) for store in PersonStore},
        [Person(cast(Any, kind), id) for kind, id in people],
        row["completed_at"],
    )
