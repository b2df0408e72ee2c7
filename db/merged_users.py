"""Users that are one person: an old user id belongs to at most one other user, who owns its events and guests."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from core.contract import Person
from db.choices import move_choices
from db.locks import AdvisoryLock, lock_transaction, lock_transaction_shared
from db.postgres import Connection, transaction

MOST_MERGED: Final = 1_000  # old ids of one user

OWNER: Final = "coalesce((SELECT into_id FROM merged_users WHERE user_id = $1), $1)"
"""SQL: the user that the user $1 is now."""
IDS: Final = f"ARRAY(SELECT {OWNER} UNION ALL SELECT user_id FROM merged_users WHERE into_id = {OWNER})"
"""SQL: every user id of the person of user $1."""


class MergedUser(NamedTuple):
    """An old user id and the user it was merged into."""

    user_id: str
    into_id: str
    merged_at: datetime
    merged_by: str


class MergeRefused(Enum):
    """Why two users were not merged."""

    CIRCLE = "the other user was merged into this one"
    TAKEN = "the user was merged into a third one"
    TOO_MANY = "the user has too many old ids"


async def merge_into(connection: Connection, from_id: str, into_id: str, by: str) -> str | MergeRefused:
    """Record that `from_id` is the user `into_id`; returns the user that both are now. Doing it twice is harmless.

    Old ids, guests and choices of `from_id` move as well. Its events are left to `assign_events`.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.MERGES)
        await lock_transaction(inside, AdvisoryLock.USERS, from_id)
        before, owner = await owner_of(inside, from_id), await owner_of(inside, into_id)
        if owner == from_id:
            return MergeRefused.CIRCLE
        if before == owner:
            return owner
        if before != from_id:
            return MergeRefused.TAKEN
        held = await inside.fetchval("SELECT count(*) FROM merged_users WHERE into_id IN ($1, $2)", from_id, owner)
        if held >= MOST_MERGED:
            return MergeRefused.TOO_MANY
        await inside.execute("UPDATE merged_users SET into_id = $2 WHERE into_id = $1", from_id, owner)
        await inside.execute(
            "INSERT INTO merged_users (user_id, into_id, merged_by) VALUES ($1, $2, $3)", from_id, owner, by
        )
        await inside.execute("UPDATE identities SET user_id = $2 WHERE user_id = $1", from_id, owner)
        await move_choices(inside, Person("user", from_id), owner)
    return owner


async def lock_owner(connection: Connection, user_id: str) -> str:
    """The user that this user is now. It stays so, and nobody else changes their guests, until the transaction ends."""
    await lock_transaction_shared(connection, AdvisoryLock.MERGES)
    owner = await owner_of(connection, user_id)
    await lock_transaction(connection, AdvisoryLock.USERS, owner)
    return owner


async def owner_of(connection: Connection, user_id: str) -> str:
    """The user that this user is now: themselves, unless they were merged."""
    owner: str = await connection.fetchval(f"SELECT {OWNER}", user_id)
    return owner


async def ids_of(connection: Connection, user_id: str) -> list[str]:
    """Every user id of the person of this user."""
    ids: list[str] = await connection.fetchval(f"SELECT {IDS}", user_id)
    return ids


async def merged_into(connection: Connection, user_id: str) -> list[MergedUser]:
    """The old ids of this user, in the order in which they were merged."""
    rows = await connection.fetch(
        "SELECT user_id, into_id, merged_at, merged_by FROM merged_users WHERE into_id = $1"
        " ORDER BY merged_at, user_id",
        user_id,
    )
    return [MergedUser(*row) for row in rows]


async def owners_of_merged(connection: Connection, among: Sequence[str] | None = None) -> dict[str, str]:
    """The user of every old user id, or of those `among` these ids."""
    rows = await connection.fetch(
        "SELECT user_id, into_id FROM merged_users WHERE $1::text[] IS NULL OR user_id = ANY($1)",
        None if among is None else list(among),
    )
    return {row["user_id"]: row["into_id"] for row in rows}


async def unsettled_merges(connection: Connection, before: datetime, limit: int = 100) -> list[MergedUser]:
    """Users who were merged before this moment and whose events may have arrived late."""
    rows = await connection.fetch(
        "SELECT user_id, into_id, merged_at, merged_by FROM merged_users"
        " WHERE settled_at IS NULL AND merged_at < $1 ORDER BY merged_at LIMIT $2",
        before,
        limit,
    )
    return [MergedUser(*row) for row in rows]


async def settle_merge(connection: Connection, user_id: str) -> None:
    """Record that all earlier events of this old id are assigned."""
    await connection.execute("UPDATE merged_users SET settled_at = now() WHERE user_id = $1", user_id)
