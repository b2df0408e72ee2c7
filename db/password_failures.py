"""Wrong passwords that were tried, and the addresses from which people signed in before. All keys are keyed hashes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from db.postgres import Connection, transaction

MOST_ADDRESSES: Final = 20  # of an account; those that were used longest ago are forgotten
MOST_SWEPT: Final = 100  # rows whose window is over, deleted by one attempt


class Bound(NamedTuple):
    """At most so many failures under this key in a window."""

    key: bytes
    most: int
    window: timedelta


async def add_failure(connection: Connection, bound: Bound, now: datetime) -> timedelta | None:
    """Count a failure; None when that was allowed, else, changing nothing, the time until the window ends.

    A window begins with the first failure in it. Concurrent attempts never count more than `bound.most` together.
    """
    counted = await connection.fetchval(
        """INSERT INTO oauth_password_failures AS counted (key, since, failures) VALUES ($1, $2, 1)
           ON CONFLICT (key) DO UPDATE SET
               since = CASE WHEN counted.since > $3 THEN counted.since ELSE $2 END,
               failures = CASE WHEN counted.since > $3 THEN counted.failures + 1 ELSE 1 END
           WHERE counted.since <= $3 OR counted.failures < $4 RETURNING true""",
        bound.key,
        now,
        now - bound.window,
        bound.most,
    )
    if counted:
        return None
    since = await connection.fetchval("SELECT since FROM oauth_password_failures WHERE key = $1", bound.key)
    return max(since + bound.window - now, timedelta(seconds=1)) if since else timedelta(seconds=1)


async def take_back(connection: Connection, keys: Sequence[bytes]) -> None:
    """Take back one failure under each of these keys: the attempt did not fail.

    The rows are locked in the order of the keys, in which `add_failure` locked them: else two attempts could wait for
    each other.
    """
    async with transaction(connection) as inside:
        for key in keys:
            await inside.execute(
                "UPDATE oauth_password_failures SET failures = failures - 1 WHERE key = $1 AND failures > 0", key
            )


async def sweep_failures(connection: Connection, before: datetime) -> None:
    """Delete some counts whose window began before this moment."""
    await connection.execute(
        """DELETE FROM oauth_password_failures WHERE key IN (
               SELECT key FROM oauth_password_failures WHERE since < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        before,
        MOST_SWEPT,
    )


async def is_familiar(connection: Connection, account: int, address: bytes, since: datetime) -> bool:
    """Whether the owner of the account signed in from this address since then."""
    found: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM oauth_familiar_addresses
                          WHERE account = $1 AND address = $2 AND signed_in_at > $3)""",
        account,
        address,
        since,
    )
    return found


async def set_familiar(connection: Connection, account: int, address: bytes, now: datetime) -> None:
    """Note that the account's owner signed in from this address. The oldest beyond MOST_ADDRESSES are forgotten."""
    await connection.execute(
        """INSERT INTO oauth_familiar_addresses (account, address, signed_in_at) VALUES ($1, $2, $3)
           ON CONFLICT (account, address) DO UPDATE SET signed_in_at = EXCLUDED.signed_in_at""",
        account,
        address,
        now,
    )
    await connection.execute(
        """DELETE FROM oauth_familiar_addresses WHERE account = $1 AND address IN (
               SELECT address FROM oauth_familiar_addresses WHERE account = $1
               ORDER BY signed_in_at DESC, address OFFSET $2)""",
        account,
        MOST_ADDRESSES,
    )
