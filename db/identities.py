"""Guests who became users: an anonymous id belongs to at most one user, and what the guest did is the user's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from core.contract import Event
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MOST_AT_ONCE: Final = 10_000  # events given to a user in one transaction


class Identity(NamedTuple):
    """A guest and the user they are."""

    anonymous_id: str
    user_id: str
    identified_at: datetime
    identified_by: str


async def join_guest(connection: Connection, anonymous_id: str, user_id: str, by: str) -> bool:
    """Make this guest's past the user's; False, and nothing changes, when the guest is another user already.

    The same again is harmless. Of a guest with more than MOST_AT_ONCE events the rest is left to `give_events`.
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
        await give_events(inside, anonymous_id, user_id)
    return True


async def give_events(connection: Connection, anonymous_id: str, user_id: str) -> bool:
    """Give the user what is stored of the guest, the oldest MOST_AT_ONCE events or so; whether that was all."""
    until = await connection.fetchval(
        "SELECT occurred_at FROM events WHERE anonymous_id = $1 AND user_id IS NULL ORDER BY occurred_at"
        " OFFSET $2 LIMIT 1",
        anonymous_id,
        MOST_AT_ONCE,
    )
    # The digest stays what the sender's body gave: the event sent again is still a duplicate.
    await connection.execute(
        "UPDATE events SET user_id = $2"
        " WHERE anonymous_id = $1 AND user_id IS NULL AND ($3::timestamptz IS NULL OR occurred_at <= $3)",
        anonymous_id,
        user_id,
        until,
    )
    return until is None


async def lock_user(connection: Connection, user_id: str) -> None:
    """Until this transaction ends nobody else joins guests to this user, or erases them."""
    await lock_transaction(connection, AdvisoryLock.USERS, user_id)


async def given_to_users(connection: Connection, events: Sequence[Event]) -> list[Event]:
    """The events, those of guests who became users as the users'."""
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
    """The guests this user was, in the order in which that became known."""
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id, identified_at, identified_by FROM identities WHERE user_id = $1"
        " ORDER BY identified_at, anonymous_id",
        user_id,
    )
    return [Identity(*row) for row in rows]


async def users_of_guests(connection: Connection) -> dict[str, str]:
    """Every guest who became a user: which, by the anonymous id."""
    rows = await connection.fetch("SELECT anonymous_id, user_id FROM identities")
    return {row["anonymous_id"]: row["user_id"] for row in rows}


async def unsettled_identities(connection: Connection, before: datetime, limit: int = 100) -> list[Identity]:
    """Guests who were joined before this moment and of whom something may have been on its way."""
    rows = await connection.fetch(
        "SELECT anonymous_id, user_id, identified_at, identified_by FROM identities"
        " WHERE settled_at IS NULL AND identified_at < $1 ORDER BY identified_at LIMIT $2",
        before,
        limit,
    )
    return [Identity(*row) for row in rows]


async def settle_identity(connection: Connection, anonymous_id: str) -> None:
    """Everything this guest did before they were joined is the user's now."""
    await connection.execute("UPDATE identities SET settled_at = now() WHERE anonymous_id = $1", anonymous_id)
