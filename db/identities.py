"""Guests who became users: an anonymous id belongs to at most one user, who owns the guest's events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from core.contract import Event
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MOST_AT_ONCE: Final = 10_000  # events assigned to a user in one transaction


class Identity(NamedTuple):
    """A guest and the user that the guest became."""

    anonymous_id: str
    user_id: str
    identified_at: datetime
    identified_by: str


async def join_guest(connection: Connection, anonymous_id: str, user_id: str, by: str) -> bool:
    """Join a guest to a user and assign the guest's events; False, changing nothing, when another user has the guest.

    Joining twice is harmless. Events of a guest beyond MOST_AT_ONCE are left to later calls of `assign_events`.
    """
    async with transaction(connection) as inside:
        await lock_user(inside, user_id)
        owner = await inside.fetchval(
            "INSERT INTO identities (anonymous_id, user_id, identified_by) VALUES ($1, $2, $3)"
            " ON CONFLICT (anonymous_id) DO UPDATE SET user_id = identities.user_id RETURNING user_id",
            anonymous_id,
            user_id,
            by,
        )
        if owner != user_id:
            return False
        await assign_events(inside, anonymous_id, user_id)
    return True


async def assign_events(connection: Connection, anonymous_id: str, user_id: str) -> bool:
    """Assign the oldest MOST_AT_ONCE events or so of the guest to the user; returns whether none is left."""
    until = await connection.fetchval(
        "SELECT occurred_at FROM events WHERE anonymous_id = $1 AND user_id IS NULL ORDER BY occurred_at"
        " OFFSET $2 LIMIT 1",
        anonymous_id,
        MOST_AT_ONCE,
    )
    # The digest stays that of the sent body, so the same event sent again is still a duplicate.
    await connection.execute(
        "UPDATE events SET user_id = $2"
        " WHERE anonymous_id = $1 AND user_id IS NULL AND ($3::timestamptz IS NULL OR occurred_at <= $3)",
        anonymous_id,
        user_id,
        until,
    )
    return until is None


async def lock_user(connection: Connection, user_id: str) -> None:
    """Let no other transaction join guests to this user, or erase the user, until this one ends."""
    await lock_transaction(connection, AdvisoryLock.USERS, user_id)


async def assign_to_users(connection: Connection, events: Sequence[Event]) -> list[Event]:
    """The events, with the user set where their guest became a user."""
    guests = {event.anonymous_id for event in events if event.user_id is None}
    if not guests:
        return list(events)
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id FROM identities WHERE anonymous_id = ANY($1::text[])", list(guests)
    )
    users: dict[str | None, str] = {row["anonymous_id"]: row["user_id"] for row in rows}
    return [
        event.of_user(users[event.anonymous_id]) if event.user_id is None and event.anonymous_id in users else event
        for event in events
    ]


async def identities_of(connection: Connection, user_id: str) -> list[Identity]:
    """The guests of this user, in the order in which they were joined."""
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id, identified_at, identified_by FROM identities WHERE user_id = $1"
        " ORDER BY identified_at, anonymous_id",
        user_id,
    )
    return [Identity(*row) for row in rows]


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
