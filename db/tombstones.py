"""Tombstones: events from before their person's erasure are not kept, however late they arrive."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from secrets import token_bytes
from typing import Final, NamedTuple

from core.contract import Event, Person
from db.postgres import Connection

READ_ALL_TIMEOUT: Final = 3600.0  # seconds to read every event
BLOCK: Final = 64  # bytes: the block size of SHA-256, which HMAC pads its key to

# HMAC-SHA256 of "kind:id", with functions every Postgres has. The key never leaves the database.
_HASH: Final = (
    "sha256((SELECT outer_pad FROM erasure_keys) || sha256((SELECT inner_pad FROM erasure_keys)"
    " || convert_to({name}, 'UTF8')))"
)
HASH_OF_GIVEN: Final = _HASH.format(name="given.name")
_HASH_OF_HELD: Final = _HASH.format(name="held.kind || ':' || held.id")
# One look-up by the primary key per event, whatever the planner estimates: a join might read all tombstones.
ERASED_WHEN: Final = "(SELECT erased_at FROM tombstones WHERE person = {hash})"
HASH_OF_EVENT: Final = _HASH.format(
    name="CASE WHEN user_id IS NULL THEN 'guest:' || anonymous_id ELSE 'user:' || user_id END"
)
HASH_OF_MEMBER: Final = _HASH.format(name="'user:' || user_id")


class Tombstone(NamedTuple):
    """The keyed hash of a person, and when they were erased."""

    person: bytes
    erased_at: datetime


class SavedTombstones(NamedTuple):
    """All tombstones and the key of their hashes, as padded for HMAC: what a restored database lacks."""

    inner_pad: bytes
    outer_pad: bytes
    tombstones: Sequence[Tombstone]


def hash_input(person: Person) -> str:
    """The text of a person that is hashed."""
    return f"{person.kind}:{person.id}"


async def ensure_key(connection: Connection) -> None:
    """Make the key of all hashes, when the first person is erased."""
    key = token_bytes(BLOCK)
    await connection.execute(
        "INSERT INTO erasure_keys (inner_pad, outer_pad) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        bytes(byte ^ 0x36 for byte in key),
        bytes(byte ^ 0x5C for byte in key),
    )


async def insert_tombstones(connection: Connection, people: Sequence[Person], moment: datetime) -> None:
    """Reject events of these people from before this moment, from now on."""
    await connection.execute(
        f"INSERT INTO tombstones (person, erased_at) SELECT {HASH_OF_GIVEN}, $2"
        " FROM unnest($1::text[]) AS given (name) ORDER BY 1"
        " ON CONFLICT (person) DO UPDATE SET erased_at = greatest(tombstones.erased_at, EXCLUDED.erased_at)",
        [hash_input(person) for person in people],
        moment,
    )


async def newest_tombstone(connection: Connection) -> datetime | None:
    """The time of the newest erasure; None when there is none. Later events need no look-up."""
    newest: datetime | None = await connection.fetchval("SELECT max(erased_at) FROM tombstones")
    return newest


async def erased_events(connection: Connection, events: Sequence[Event], newest: datetime | None) -> set[int]:
    """The positions of events whose person was erased after they happened, or after they were received.

    `newest` is the result of `newest_tombstone`: only events from before it are looked up.
    """
    if newest is None:
        return set()
    late = {at: event for at, event in enumerate(events) if event.moment < newest}
    return await erased_moments(connection, {at: (event.person, event.moment) for at, event in late.items()})


async def erasures_of(connection: Connection, people: Sequence[Person]) -> dict[Person, datetime]:
    """When these people were erased; those who never were are left out."""
    rows = await connection.fetch(
        "SELECT place, tombstones.erased_at FROM unnest($1::text[]) WITH ORDINALITY AS given (name, place)"
        f" JOIN tombstones ON person = {HASH_OF_GIVEN}",
        [hash_input(person) for person in people],
    )
    return {people[row["place"] - 1]: row["erased_at"] for row in rows}


async def erased_moments(connection: Connection, moments: Mapping[int, tuple[Person, datetime]]) -> set[int]:
    """The keys of those from before their person was erased."""
    if not moments:
        return set()
    rows = await connection.fetch(
        "SELECT place FROM unnest($1::integer[], $2::text[], $3::timestamptz[]) AS given (place, name, moment)"
        f" WHERE moment < {ERASED_WHEN.format(hash=HASH_OF_GIVEN)}",
        list(moments),
        [hash_input(person) for person, _ in moments.values()],
        [moment for _, moment in moments.values()],
    )
    return {row["place"] for row in rows}


async def saved_tombstones(connection: Connection) -> SavedTombstones | None:
    """Every tombstone with the key; None when nobody was ever erased."""
    key = await connection.fetchrow("SELECT inner_pad, outer_pad FROM erasure_keys")
    if key is None:
        return None
    rows = await connection.fetch("SELECT person, erased_at FROM tombstones ORDER BY erased_at")
    return SavedTombstones(key["inner_pad"], key["outer_pad"], [Tombstone(*row) for row in rows])


async def take_key(connection: Connection, saved: SavedTombstones) -> bool:
    """Use the saved key in a database that has none. Returns whether the database's key is the saved one now."""
    await connection.execute(
        "INSERT INTO erasure_keys (inner_pad, outer_pad) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        saved.inner_pad,
        saved.outer_pad,
    )
    same: bool = await connection.fetchval(
        "SELECT inner_pad = $1 AND outer_pad = $2 FROM erasure_keys", saved.inner_pad, saved.outer_pad
    )
    return same


async def unknown_tombstones(connection: Connection, tombstones: Sequence[Tombstone]) -> list[Tombstone]:
    """Those that the database does not have, or only from an earlier erasure of the same person."""
    rows = await connection.fetch(
        "SELECT given.person, given.erased_at FROM unnest($1::bytea[], $2::timestamptz[]) AS given (person, erased_at)"
        " LEFT JOIN tombstones USING (person)"
        " WHERE tombstones.erased_at IS NULL OR tombstones.erased_at < given.erased_at",
        [tombstone.person for tombstone in tombstones],
        [tombstone.erased_at for tombstone in tombstones],
    )
    return [Tombstone(*row) for row in rows]


async def people_of(connection: Connection, tombstones: Sequence[Tombstone]) -> list[tuple[Person, datetime]]:
    """The erased people that the database still knows, by their tombstones. Reads every event: not for a request."""
    rows = await connection.fetch(
        "SELECT kind, id, given.erased_at FROM"
        " (SELECT 'user' AS kind, id FROM users UNION SELECT 'user', user_id FROM events WHERE user_id IS NOT NULL"
        " UNION SELECT 'user', user_id FROM oauth_accounts"
        " UNION SELECT 'user', user_id FROM oauth_families WHERE user_id IS NOT NULL"
        " UNION SELECT 'user', user_id FROM identities UNION SELECT 'guest', anonymous_id FROM identities"
        " UNION SELECT 'guest', anonymous_id FROM events WHERE user_id IS NULL) AS held"
        " JOIN unnest($1::bytea[], $2::timestamptz[]) AS given (person, erased_at)"
        f" ON given.person = {_HASH_OF_HELD} ORDER BY kind DESC, id",
        [tombstone.person for tombstone in tombstones],
        [tombstone.erased_at for tombstone in tombstones],
        timeout=READ_ALL_TIMEOUT,
    )
    return [(Person(row["kind"], row["id"]), row["erased_at"]) for row in rows]


async def keep_tombstones(connection: Connection, tombstones: Sequence[Tombstone]) -> None:
    """Add these; of two erasures of a person the later one stays."""
    await connection.execute(
        "INSERT INTO tombstones (person, erased_at) SELECT * FROM unnest($1::bytea[], $2::timestamptz[])"
        " ON CONFLICT (person) DO UPDATE SET erased_at = greatest(tombstones.erased_at, EXCLUDED.erased_at)",
        [tombstone.person for tombstone in tombstones],
        [tombstone.erased_at for tombstone in tombstones],
    )
