"""The keys that sign access tokens, encrypted: only the gateway can decrypt them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.errors import InvalidInput
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MAX_KEYS = 10  # that verify tokens at a time: the set that clients read stays small
MOST_LISTED = 100
OLD_SIGNS_ON = timedelta(minutes=1)  # after its successor has begun: no process is without a key that may sign


class KeysRefused(InvalidInput):
    """The keys stay as they are."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key: `sealed` is the private key under the gateway's secret, `public` its JWK, for people to read.

    `age`, `live` (it may still sign) and `begun` (it may sign already) come from the clock of Postgres: one clock for
    all processes.
    """

    kid: str
    sealed: str
    public: dict[str, Any]
    age: timedelta = timedelta(0)
    live: bool = True
    begun: bool = True


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """What people see of a key: since when it signs, until when, and when it was revoked."""

    kid: str
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None
    revoked_at: datetime | None


Usable = Callable[[StoredKey], bool]
Make = Callable[[], Awaitable[StoredKey]]


async def list_keys(connection: Connection, verify_for: timedelta) -> list[StoredKey]:
    """Keys that sign, and those retired within `verify_for`, whose tokens may still be valid; newest first."""
    rows = await connection.fetch(
        """SELECT kid, sealed, public, now() - created_at AS age, retired_at IS NULL OR retired_at > now() AS live,
               coalesce(signs_from, created_at + interval '10 seconds') <= now() AS begun
           FROM oauth_keys WHERE revoked_at IS NULL AND (retired_at IS NULL OR retired_at > now() - $1::interval)
           ORDER BY created_at DESC, kid""",
        verify_for,
    )
    return [StoredKey(**row) for row in rows]


async def list_key_times(connection: Connection) -> list[KeyTimes]:
    """The newest keys, at most 100, also those whose tokens are all refused; newest first."""
    rows = await connection.fetch(
        """SELECT kid, created_at, coalesce(signs_from, created_at + interval '10 seconds') AS signs_from, retired_at,
               revoked_at FROM oauth_keys ORDER BY created_at DESC, kid LIMIT $1""",
        MOST_LISTED,
    )
    return [KeyTimes(**row) for row in rows]


async def make_first_key(connection: Connection, usable: Usable, make: Make) -> bool:
    """Store the key that `make` returns, unless a live `usable` one exists; True when it was stored."""
    async with transaction(connection) as held:
        await lock_transaction(held, AdvisoryLock.SIGNING_KEYS)
        if any(usable(key) for key in await list_keys(held, timedelta(0))):
            return False
        await _insert(held, await make(), timedelta(0))
        return True


async def rotate_key(
    connection: Connection,
    verify_for: timedelta,
    usable: Usable,
    make: Make,
    *,
    signs_after: timedelta,
    older_than: timedelta = timedelta(0),
) -> str | None:
    """Store a key that signs after `signs_after`; the keys before sign until a minute later, and verify longer.

    A key that waits for its time already gets this one if it is earlier. Returns the kid. None, changing nothing, when
    the newest key is younger than `older_than`. Raises KeysRefused when there are too many keys, or none that this
    process can open.
    """
    async with transaction(connection) as held:
        await lock_transaction(held, AdvisoryLock.SIGNING_KEYS)
        keys = await list_keys(held, verify_for)
        live = [key for key in keys if key.live]
        if live and not any(map(usable, live)):
            raise KeysRefused("PENCHANT_SECRET is not the one that the signing keys were made with")
        waiting = next((key for key in live if not key.begun and usable(key)), None)
        if older_than and (waiting or min((key.age for key in live), default=older_than) < older_than):
            return None
        if waiting is None and len(keys) >= MAX_KEYS:
            raise KeysRefused(f"There are {MAX_KEYS} keys already whose tokens may be valid: wait a day, or revoke one")
        if waiting is None:
            waiting = await make()
            await _insert(held, waiting, signs_after)
        await held.execute(
            """WITH next AS (UPDATE oauth_keys SET signs_from = least(signs_from, now() + $2::interval)
                   WHERE kid = $1 RETURNING signs_from)
               UPDATE oauth_keys SET retired_at = least(retired_at, next.signs_from + $3::interval) FROM next
               WHERE kid <> $1 AND (retired_at IS NULL OR retired_at > now())""",
            waiting.kid,
            signs_after,
            OLD_SIGNS_ON,
        )
        return waiting.kid


async def revoke_key(connection: Connection, kid: str, usable: Usable, make: Make) -> str:
    """Refuse every token that the key has signed. Returns the kid of the key that signs from now on.

    It is the newest of the others, or a new one. Raises KeysRefused when there is no such key to revoke, or none of
    the live keys can be opened by this process.
    """
    async with transaction(connection) as held:
        await lock_transaction(held, AdvisoryLock.SIGNING_KEYS)
        live = [key for key in await list_keys(held, timedelta(0)) if key.live]
        if live and not any(map(usable, live)):
            raise KeysRefused("PENCHANT_SECRET is not the one that the signing keys were made with")
        status = await held.execute(
            "UPDATE oauth_keys SET revoked_at = now() WHERE kid = $1 AND revoked_at IS NULL", kid
        )
        if status != "UPDATE 1":
            raise KeysRefused("There is no such key that is not revoked", "kid")
        successor = next((key for key in live if key.kid != kid and usable(key)), None)
        if successor is None:
            successor = await make()
            await _insert(held, successor, timedelta(0))
        await held.execute(
            """UPDATE oauth_keys SET retired_at = NULL,
                   signs_from = least(coalesce(signs_from, created_at + interval '10 seconds'), now())
               WHERE kid = $1""",
            successor.kid,
        )
        return successor.kid


async def reseal_keys(
    connection: Connection, verify_for: timedelta, resealed: Callable[[StoredKey], StoredKey | None]
) -> int:
    """Replace each key for which `resealed` returns it sealed anew; returns how many were replaced.

    The keys are those of `list_keys`. `created_at` stays, so the same key goes on signing.
    """
    async with transaction(connection) as held:
        await lock_transaction(held, AdvisoryLock.SIGNING_KEYS)
        changed = [key for stored in await list_keys(held, verify_for) if (key := resealed(stored)) is not None]
        for key in changed:
            await held.execute("UPDATE oauth_keys SET sealed = $2 WHERE kid = $1", key.kid, key.sealed)
    return len(changed)


async def _insert(connection: Connection, key: StoredKey, signs_after: timedelta) -> None:
    await connection.execute(
        "INSERT INTO oauth_keys (kid, sealed, public, signs_from) VALUES ($1, $2, $3, now() + $4::interval)",
        key.kid,
        key.sealed,
        key.public,
        signs_after,
    )
