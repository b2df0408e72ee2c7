"""Families: what a person approved for a client, with the code and the tokens that come from it.

Most functions are for psycopg: authlib's grants run in threads, not on the loop. `sha256` hashes codes and tokens.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from db.postgres import Connection

KEPT: Final = timedelta(hours=1)  # how long a family is kept after its last token has ended
MOST_AT_ONCE: Final = 1000  # rows deleted in one statement
MOST_OF_PERSON: Final = 50  # families of one person for one client; the oldest end


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person approved, before it has a code."""

    client_id: str
    user_id: str
    scopes: tuple[str, ...]
    auth_time: datetime
    redirect_uri: str
    code_challenge: str
    nonce: str | None
    session: bytes | None = None  # the hash of the session in which it was approved; None: it was checked elsewhere


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token to store: hashes of its first part and of the whole; how long it lives unused, and the last one.

    The first part is the same in all refresh tokens of a family. So one row tells a token that was used before from an
    invented one, however many there were.
    """

    handle: bytes
    hash: bytes
    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Family:
    """A family as stored. The clock of Postgres decides what has expired."""

    id: str
    client_id: str
    user_id: str | None
    scopes: list[str]
    auth_time: datetime
    redirect_uri: str
    nonce: str | None
    code_challenge: str
    code_used: bool
    code_expired: bool
    refresh_hash: bytes | None
    refresh_expired: bool
    refresh_issued_at: datetime | None
    refresh_ends_at: datetime | None  # the earlier of the two limits
    revoked: bool


_COLUMNS: Final = """id, client_id, user_id, scopes, auth_time, redirect_uri, nonce, code_challenge,
    code_used_at IS NOT NULL AS code_used, code_expires_at <= now() AS code_expired, refresh_hash,
    coalesce(least(refresh_idle_at, refresh_ends_at) <= now(), true) AS refresh_expired, refresh_issued_at,
    least(refresh_idle_at, refresh_ends_at) AS refresh_ends_at, revoked_at IS NOT NULL AS revoked"""


def sha256(text: str) -> bytes:
    """The hash under which a code or a refresh token is stored. They are random: it needs no salt and no argon2."""
    return hashlib.sha256(text.encode()).digest()


def store_code(
    connection: psycopg.Connection[Any], family_id: str, approval: Approval, code: bytes, ttl: timedelta
) -> bool:
    """Store a new family with its code, a hash that is valid for `ttl`; False when its session has ended. Blocks.

    The session is locked: whoever ends it, and then revokes the tokens of its user, finds this family. The oldest
    families beyond MOST_OF_PERSON are revoked.
    """
    stored = connection.execute(
        """WITH signed_in AS (SELECT FROM oauth_sessions WHERE id_hash = %s FOR SHARE)
           INSERT INTO oauth_families (id, client_id, user_id, scopes, auth_time, redirect_uri, code_challenge, nonce,
               code_hash, code_expires_at, kept_until)
           SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, now() + %s, now() + %s
           WHERE %s OR EXISTS (SELECT FROM signed_in) RETURNING id""",
        (
            approval.session,
            family_id,
            approval.client_id,
            approval.user_id,
            list(approval.scopes),
            approval.auth_time,
            approval.redirect_uri,
            approval.code_challenge,
            approval.nonce,
            code,
            ttl,
            ttl + timedelta(hours=1),
            approval.session is None,
        ),
    )
    if stored.fetchone() is None:
        return False
    connection.execute(
        """UPDATE oauth_families SET revoked_at = clock_timestamp(),
               kept_until = greatest(tokens_until, clock_timestamp()) + %s
           WHERE id IN (SELECT id FROM oauth_families WHERE user_id = %s AND client_id = %s AND revoked_at IS NULL
                        ORDER BY created_at DESC, id OFFSET %s)""",
        (KEPT, approval.user_id, approval.client_id, MOST_OF_PERSON),
    )
    return True


def find_by_code(connection: psycopg.Connection[Any], code: bytes) -> Family | None:
    """The family whose code has this hash, used or not. Blocks."""
    return _find(connection, "code_hash", code)


def find_by_handle(connection: psycopg.Connection[Any], handle: bytes) -> Family | None:
    """The family whose refresh tokens begin with the text that has this hash. Blocks."""
    return _find(connection, "refresh_handle", handle)


def redeem_code(
    connection: psycopg.Connection[Any], family_id: str, refresh: RefreshToken | None, access_ttl: timedelta
) -> bool:
    """Use the code and store the first refresh token, in one statement; False when the code is not valid. Blocks.

    `access_ttl` is the life of the access token that is issued with it.
    """
    return _changed(
        connection,
        """UPDATE oauth_families SET code_used_at = now(), refresh_handle = %(handle)s, refresh_hash = %(hash)s,
               refresh_issued_at = now(), refresh_idle_at = now() + %(idle)s::interval,
               refresh_ends_at = now() + %(absolute)s::interval,
               tokens_until = now() + %(access)s,
               kept_until = now() + greatest(%(absolute)s::interval, %(access)s) + %(kept)s
           WHERE id = %(id)s AND code_used_at IS NULL AND code_expires_at > now() AND revoked_at IS NULL
           RETURNING id""",
        id=family_id,
        handle=refresh and refresh.handle,
        hash=refresh and refresh.hash,
        idle=refresh and refresh.idle,
        absolute=refresh and refresh.absolute,
        access=access_ttl,
        kept=KEPT,
    )


def rotate_refresh_token(
    connection: psycopg.Connection[Any], family_id: str, used: bytes, new: RefreshToken, access_ttl: timedelta
) -> bool:
    """Use a refresh token and store the next, in one statement; False when the used one is not valid. Blocks."""
    return _changed(
        connection,
        """UPDATE oauth_families SET refresh_hash = %(new)s, refresh_issued_at = now(),
               refresh_idle_at = now() + %(idle)s, tokens_until = greatest(tokens_until, now() + %(access)s),
               kept_until = greatest(kept_until, now() + %(access)s + %(kept)s)
           WHERE id = %(id)s AND refresh_hash = %(used)s AND revoked_at IS NULL
             AND refresh_idle_at > now() AND refresh_ends_at > now() RETURNING id""",
        id=family_id,
        used=used,
        new=new.hash,
        idle=new.idle,
        access=access_ttl,
        kept=KEPT,
    )


def revoke_family(connection: psycopg.Connection[Any], family_id: str) -> None:
    """Refuse the code and all tokens of a family from now on. Blocks."""
    _changed(
        connection,
        """UPDATE oauth_families SET revoked_at = clock_timestamp(),
               kept_until = greatest(tokens_until, clock_timestamp()) + %(kept)s
           WHERE id = %(id)s AND revoked_at IS NULL RETURNING id""",
        id=family_id,
        kept=KEPT,
    )


async def revoke_families(
    connection: Connection, user_ids: Sequence[str], *, client_id: str | None = None, keep_offline: bool = False
) -> int:
    """Revoke the families of these users, of one client only when it is named; returns how many.

    With `keep_offline`, a family stays for which the person approved `offline_access`: it is to outlast a sign-out.
    """
    tag = await connection.execute(
        """UPDATE oauth_families SET revoked_at = clock_timestamp(),
               kept_until = greatest(tokens_until, clock_timestamp()) + $2::interval
           WHERE user_id = ANY($1::text[]) AND revoked_at IS NULL AND ($3::text IS NULL OR client_id = $3)
             AND NOT ($4 AND 'offline_access' = ANY(scopes))""",
        list(user_ids),
        KEPT,
        client_id,
        keep_offline,
    )
    return int(tag.rpartition(" ")[2])


async def grants_of(connection: Connection, user_ids: Sequence[str], limit: int = 1000) -> list[dict[str, Any]]:
    """What these users approved, the newest first, as JSON: which client may have which scopes, and since when."""
    rows = await connection.fetch(
        """SELECT client_id, scopes, auth_time, revoked_at FROM oauth_families WHERE user_id = ANY($1::text[])
           ORDER BY auth_time DESC LIMIT $2""",
        list(user_ids),
        limit,
    )
    return [
        {
            "client": row["client_id"],
            "scopes": row["scopes"],
            "signedInAt": row["auth_time"].isoformat(),
            "revokedAt": row["revoked_at"] and row["revoked_at"].isoformat(),
        }
        for row in rows
    ]


async def erase_families(connection: Connection, user_ids: Sequence[str]) -> int:
    """Revoke the families of these users and forget whose they were; returns how many.

    The rows stay a while without a user id, so that access tokens that are still out there are refused.
    """
    await revoke_families(connection, user_ids)
    tag = await connection.execute(
        "UPDATE oauth_families SET user_id = NULL, nonce = NULL WHERE user_id = ANY($1::text[])", list(user_ids)
    )
    return int(tag.rpartition(" ")[2])


async def delete_ended_families(connection: Connection) -> int:
    """Delete families of which nothing can be valid any more, at most MOST_AT_ONCE; returns how many."""
    tag = await connection.execute(
        """DELETE FROM oauth_families WHERE id IN (
               SELECT id FROM oauth_families WHERE kept_until < now() LIMIT $1 FOR UPDATE SKIP LOCKED)""",
        MOST_AT_ONCE,
    )
    return int(tag.rpartition(" ")[2])


def _find(connection: psycopg.Connection[Any], column: str, value: bytes) -> Family | None:
    with connection.cursor(row_factory=class_row(Family)) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM oauth_families WHERE {column} = %s", (value,))
        return cursor.fetchone()


def _changed(connection: psycopg.Connection[Any], statement: str, **values: object) -> bool:
    return connection.execute(statement, values).fetchone() is not None
