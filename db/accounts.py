"""Accounts: the login name and the password of a user of the shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from db.authorizations import revoke_families
from db.merged_users import ids_of
from db.postgres import Connection, transaction
from db.sessions import end_sessions


@dataclass(frozen=True, slots=True)
class Account:
    """An account as stored. `login_key` is the login name as it is compared, `login` as it is shown."""

    id: int
    login_key: str
    login: str
    user_id: str
    password_hash: str
    created_at: datetime
    password_set_at: datetime
    disabled_at: datetime | None


_COLUMNS: Final = "id, login_key, login, user_id, password_hash, created_at, password_set_at, disabled_at"


async def create_account(connection: Connection, login_key: str, login: str, user_id: str, password_hash: str) -> bool:
    """Store a new account; False, changing nothing, when its login name is taken or the user has an account."""
    status = await connection.execute(
        """INSERT INTO oauth_accounts (login_key, login, user_id, password_hash) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING""",
        login_key,
        login,
        user_id,
        password_hash,
    )
    return status == "INSERT 0 1"


async def find_account(connection: Connection, login_key: str) -> Account | None:
    """The account of that login name, disabled or not."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM oauth_accounts WHERE login_key = $1", login_key)
    return _account(row) if row else None


async def list_accounts(connection: Connection, after: str = "", limit: int = 1000) -> list[Account]:
    """Accounts by login name, at most `limit` of those after `after`; disabled ones too."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM oauth_accounts WHERE login_key > $1 ORDER BY login_key LIMIT $2", after, limit
    )
    return [_account(row) for row in rows]


async def change_password(connection: Connection, login_key: str, password_hash: str) -> bool:
    """Give an account a new password, end its sessions and revoke its tokens; False when there is no such account."""
    async with transaction(connection) as inside:
        row = await inside.fetchrow(
            """UPDATE oauth_accounts SET password_hash = $2, password_set_at = now() WHERE login_key = $1
               RETURNING id, user_id""",
            login_key,
            password_hash,
        )
        if row is not None:
            await _sign_out_everywhere(inside, row["id"], row["user_id"])
    return row is not None


async def disable_account(connection: Connection, login_key: str) -> bool:
    """Refuse an account, end its sessions and revoke its tokens; False when there is no such enabled account."""
    async with transaction(connection) as inside:
        row = await inside.fetchrow(
            """UPDATE oauth_accounts SET disabled_at = now() WHERE login_key = $1 AND disabled_at IS NULL
               RETURNING id, user_id""",
            login_key,
        )
        if row is not None:
            await _sign_out_everywhere(inside, row["id"], row["user_id"])
    return row is not None


async def enable_account(connection: Connection, login_key: str) -> bool:
    """Let the owner of a disabled account sign in again; False when there is no such disabled account."""
    status = await connection.execute(
        "UPDATE oauth_accounts SET disabled_at = NULL WHERE login_key = $1 AND disabled_at IS NOT NULL", login_key
    )
    return status == "UPDATE 1"


async def accounts_of(connection: Connection, user_ids: Sequence[str]) -> list[dict[str, Any]]:
    """All that the accounts of these users hold but for the passwords, as JSON."""
    rows = await connection.fetch(
        """SELECT login, user_id, created_at, password_set_at, disabled_at,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('signedInAt', auth_time, 'usedAt', used_at)
                           ORDER BY auth_time), '[]')
                FROM oauth_sessions WHERE account = oauth_accounts.id) AS sessions,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('client', client_id, 'scopes', scopes, 'at', given_at)
                           ORDER BY given_at), '[]')
                FROM oauth_consents WHERE account = oauth_accounts.id) AS consents
           FROM oauth_accounts WHERE user_id = ANY($1::text[]) ORDER BY login_key""",
        list(user_ids),
    )
    return [
        {
            "login": row["login"],
            "userId": row["user_id"],
            "createdAt": row["created_at"].isoformat(),
            "passwordSetAt": row["password_set_at"].isoformat(),
            "disabledAt": row["disabled_at"] and row["disabled_at"].isoformat(),
            "sessions": row["sessions"],
            "consents": row["consents"],
        }
        for row in rows
    ]


async def delete_accounts(connection: Connection, user_ids: Sequence[str]) -> int:
    """Delete the accounts of these users with their sessions, consents and addresses; returns how many there were."""
    status = await connection.execute("DELETE FROM oauth_accounts WHERE user_id = ANY($1::text[])", list(user_ids))
    return int(status.rpartition(" ")[2])


async def _sign_out_everywhere(connection: Connection, account: int, user_id: str) -> None:
    """Tokens name the user that the account's user was at the sign-in: any of the person's ids, after merges."""
    await end_sessions(connection, account)
    await revoke_families(connection, await ids_of(connection, user_id))


def _account(row: Any) -> Account:
    return Account(**dict(row))
