"""Sessions: the browsers in which somebody is signed in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from db.merged_users import OWNER
from db.postgres import Connection, transaction

MOST_SESSIONS: Final = 10  # of an account; the oldest end
MOST_SWEPT: Final = 100  # expired sessions deleted by one sign-in
_USED_EVERY: Final = timedelta(minutes=1)  # `used_at` is written no more often


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. `user_id` is the user that the account's user is now: merges are followed."""

    id_hash: bytes
    account: int
    login: str
    user_id: str
    auth_time: datetime


async def open_session(
    connection: Connection, id_hash: bytes, account: int, password_hash: str, now: datetime, lifetime: timedelta
) -> bool:
    """Store a new session. Ends the account's oldest ones beyond MOST_SESSIONS, and some that are over.

    False, changing nothing, when the account is disabled or gone, or its password is another one by now.
    """
    async with transaction(connection) as inside:
        stored = await inside.fetchval(
            "SELECT id FROM oauth_accounts WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE",
            account,
            password_hash,
        )
        if stored is None:
            return False
        await inside.execute(
            "INSERT INTO oauth_sessions (id_hash, account, auth_time, used_at) VALUES ($1, $2, $3, $3)",
            id_hash,
            account,
            now,
        )
        await inside.execute(
            """DELETE FROM oauth_sessions WHERE id_hash IN (
                   SELECT id_hash FROM oauth_sessions WHERE account = $1 ORDER BY auth_time DESC, id_hash OFFSET $2)""",
            account,
            MOST_SESSIONS,
        )
        await inside.execute(
            """DELETE FROM oauth_sessions WHERE id_hash IN (
                   SELECT id_hash FROM oauth_sessions WHERE auth_time < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)""",
            now - lifetime,
            MOST_SWEPT,
        )
    return True


async def use_session(
    connection: Connection, id_hash: bytes, now: datetime, idle: timedelta, lifetime: timedelta
) -> Session | None:
    """The session, in use now. None when there is none, or its time is over, or its account is disabled."""
    row = await connection.fetchrow(
        f"""SELECT account, login, auth_time, used_at,
                   (SELECT {OWNER.replace("$1", "oauth_accounts.user_id")}) AS user_id
            FROM oauth_sessions JOIN oauth_accounts ON oauth_accounts.id = account
            WHERE id_hash = $1 AND used_at > $2 AND auth_time > $3 AND disabled_at IS NULL""",
        id_hash,
        now - idle,
        now - lifetime,
    )
    if row is None:
        return None
    if row["used_at"] < now - _USED_EVERY:
        await connection.execute("UPDATE oauth_sessions SET used_at = $2 WHERE id_hash = $1", id_hash, now)
    return Session(id_hash, row["account"], row["login"], row["user_id"], row["auth_time"])


async def end_session(connection: Connection, id_hash: bytes) -> None:
    """Delete the session, if there is one."""
    await connection.execute("DELETE FROM oauth_sessions WHERE id_hash = $1", id_hash)


async def end_sessions(connection: Connection, account: int) -> int:
    """Delete every session of the account; returns how many there were."""
    status = await connection.execute("DELETE FROM oauth_sessions WHERE account = $1", account)
    return int(status.rpartition(" ")[2])
