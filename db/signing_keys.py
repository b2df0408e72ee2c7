"""The keys that sign access tokens, encrypted: only the gateway can decrypt them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key: `sealed` is the private key under the gateway's secret, `public` its JWK, for people to read.

    `age` and `live` (it may still sign) come from the clock of Postgres: one clock for all processes.
    """

    kid: str
    sealed: str
    public: dict[str, Any]
    age: timedelta = timedelta(0)
    live: bool = True


async def list_keys(connection: Connection, verify_for: timedelta) -> list[StoredKey]:
    """Keys that sign, and those retired within `verify_for`, whose tokens may still be valid; newest first."""
    rows = await connection.fetch(
        """SELECT kid, sealed, public, now() - created_at AS age, retired_at IS NULL OR retired_at > now() AS live
           FROM oauth_keys WHERE retired_at IS NULL OR retired_at > now() - $1::interval
           ORDER BY created_at DESC, kid""",
        verify_for,
    )
    return [StoredKey(**row) for row in rows]


async def make_first_key(
    connection: Connection,
    usable: Callable[[StoredKey], bool],
    make: Callable[[], Awaitable[StoredKey]],
) -> bool:
    """Store the key that `make` returns, unless a live `usable` one exists; True when it was stored."""
    async with transaction(connection) as held:
        await lock_transaction(held, AdvisoryLock.SIGNING_KEYS)
        if any(usable(key) for key in await list_keys(held, timedelta(0))):
            return False
        await _insert(held, await make())
        return True


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


async def _insert(connection: Connection, key: StoredKey) -> None:
    await connection.execute(
        "INSERT INTO oauth_keys (kid, sealed, public) VALUES ($1, $2, $3)", key.kid, key.sealed, key.public
    )
