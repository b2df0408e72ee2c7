"""Guests who became users: an anonymous id belongs to at most one user, who owns the guest's events.

A user may have been merged into another one (`merged_users.py`), who owns the guests then.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from core.contract import Event, Person
from db.choices import move_choices
from db.locks import AdvisoryLock, lock_transaction
from db.merged_users import IDS, OWNER, lock_owner
from db.postgres import Connection, transaction

MOST_AT_ONCE: Final = 10_000  # events assigned to a user in one transaction


class Identity(NamedTuple):
    """A guest and the user that the guest became."""

    anonymous_id: str
    user_id: str
    identified_at: datetime
    identified_by: str


async def join_guest(connection: Connection, anonymous_id: str, user_id: str, by: str) -> str | None:
    """Join a guest to a user and assign the guest's events and choices; returns the user that this user is now.

    None, changing nothing, when another user has the guest. Joining twice is harmless. Events of a guest beyond
    MOST_AT_ONCE are left to later calls of `assign_events`.
    """
    async with transaction(connection) as inside:
        user_id = await lock_owner(inside, user_id)
        owner = await inside.fetchval(
            "INSERT INTO identities (anonymous_id, user_id, identified_by) VALUES ($1, $2, $3)"
            " ON CONFLICT (anonymous_id) DO UPDATE SET user_id = identities.user_id RETURNING user_id",
            anonymous_id,
            user_id,
            by,
        )
        if owner != user_id:
            return None
        await move_choices(inside, Person("guest", anonymous_id), user_id)
        await assign_events(inside, Person("guest", anonymous_id), user_id)
    return user_id


async def is_only_a_user(connection: Connection, id: str) -> bool:
    """Whether this is the id of a known user and of no guest."""
    only: bool = await connection.fetchval(
        "SELECT (EXISTS (SELECT FROM users WHERE id = $1) OR EXISTS (SELECT FROM events WHERE user_id = $1)"
        " OR EXISTS (SELECT FROM merged_users WHERE $1 IN (user_id, into_id)))"
        " AND NOT EXISTS (SELECT FROM identities WHERE anonymous_id = $1)"
        " AND NOT EXISTS (SELECT FROM events WHERE anonymous_id = $1 AND user_id IS NULL)",
        id,
    )
    return only


async def assign_events(connection: Connection, person: Person, user_id: str) -> bool:
    """Assign the oldest MOST_AT_ONCE events or so of a guest or an old user id; returns whether none is left."""
    whose = "user_id = $1" if person.kind == "user" else "anonymous_id = $1 AND user_id IS NULL"
    until = await connection.fetchval(
        f"SELECT occurred_at FROM events WHERE {whose} ORDER BY occurred_at OFFSET $2 LIMIT 1",
        person.id,
        MOST_AT_ONCE,
    )
    # The digest stays that of the sent body, so the same event sent again is still a duplicate.
    await connection.execute(
        f"UPDATE events SET user_id = $2 WHERE {whose} AND ($3::timestamptz IS NULL OR occurred_at <= $3)",
        person.id,
        user_id,
        until,
    )
    return until is None


async def lock_user(connection: Connection, user_id: str) -> None:
    """Let no other transaction join guests to this user, or erase the user, until this one ends."""
    await lock_transaction(connection, AdvisoryLock.USERS, user_id)


async def assign_to_users(connection: Connection, events: Sequence[Event]) -> list[Event]:
    """The events, with the user that their guest became, or that their user was merged into."""
    people = {event.person for event in events}
    rows = await connection.fetch(
        "SELECT 'guest' AS kind, anonymous_id AS id, user_id AS owner FROM identities WHERE anonymous_id = ANY($1)"
        " UNION ALL SELECT 'user', user_id, into_id FROM merged_users WHERE user_id = ANY($2)",
        [person.id for person in people if person.kind == "guest"],
        [person.id for person in people if person.kind == "user"],
    )
    if not rows:
        return list(events)
    owners = {Person(row["kind"], row["id"]): row["owner"] for row in rows}
    return [event.of_user(owners[event.person]) if event.person in owners else event for event in events]


async def identities_of(connection: Connection, user_id: str) -> list[Identity]:
    """The guests of this user, in the order in which they were joined."""
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id, identified_at, identified_by FROM identities WHERE user_id = $1"
        " ORDER BY identified_at, anonymous_id",
        user_id,
    )
    return [Identity(*row) for row in rows]


async def people_of_user(connection: Connection, user_id: str) -> list[Person]:
    """Everybody that this user is or was: all their user ids, and their guests."""
    rows = await connection.fetch(
        f"SELECT 'user' AS kind, unnest({IDS}) AS id"
        f" UNION ALL SELECT 'guest', anonymous_id FROM identities WHERE user_id = {OWNER}",
        user_id,
    )
    return [Person(row["kind"], row["id"]) for row in rows]


async def has_unassigned_events(connection: Connection, user_id: str) -> bool:
    """Whether events of this user's old ids or guests are still to be assigned."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM events WHERE user_id IN"
        f"   (SELECT user_id FROM merged_users WHERE into_id = {OWNER}))"
        " OR EXISTS (SELECT FROM events WHERE user_id IS NULL AND anonymous_id IN"
        f"   (SELECT anonymous_id FROM identities WHERE user_id = {OWNER}))",
        user_id,
    )
    return found


async def users_of_guests(connection: Connection) -> dict[str, str]:
    """The user id of every guest who became a user, by anonymous id."""
    rows = await connection.fetch("SELECT anonymous_id, user_id FROM identities")
    return {row["anonymous_id"]: row["user_id"] for row in rows}


async def unsettled_identities(connection: Connection, before: datetime, limit: int = 100) -> list[Identity]:
    """Guests who were joined before this moment and whose events may have arrived late."""
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id, identified_at, identified_by FROM identities"
        " WHERE settled_at IS NULL AND identified_at < $1 ORDER BY identified_at LIMIT $2",
        before,
        limit,
    )
    return [Identity(*row) for row in rows]


async def settle_identity(connection: Connection, anonymous_id: str) -> None:
    """Record that all earlier events of this guest are assigned."""
    await connection.execute("UPDATE identities SET settled_at = now() WHERE anonymous_id = $1", anonymous_id)
