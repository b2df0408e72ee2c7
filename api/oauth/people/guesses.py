"""Limits on guessing passwords, for all processes together: the counts are in Postgres.

Failures are counted for a login name and an address together, for the login name from all addresses, and for the
address with all login names. A person passes the last two at an address from which they signed in before: nobody else
can lock them out there. Unknown login names are counted alike. Postgres holds the accounts too: while it is away,
nobody can sign in, so the counts need no second place.
"""

import hmac
from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from typing import Final

from api.oauth.clients.guesses import TooManyGuesses
from core import clock
from db.password_failures import Bound, add_failure, is_familiar, set_familiar, sweep_failures, take_back
from db.postgres import Connection, transaction

WINDOW: Final = timedelta(minutes=15)  # of the counts with an address
ACCOUNT_WINDOW: Final = timedelta(hours=1)
MAX_FAILURES: Final = 10  # of one login name from one address
MAX_FAILURES_OF_ACCOUNT: Final = 50  # of one login name, from addresses where its owner never signed in
MAX_FAILURES_OF_ADDRESS: Final = 100  # of one address, whatever the login names
FAMILIAR_FOR: Final = timedelta(days=90)


class PasswordGuesses:
    """Counts attempts. Names and addresses are stored as keyed hashes only."""

    def __init__(self, pool: Connection, secret: str) -> None:
        self._pool = pool
        self._key = hmac.digest(secret.encode(), b"penchant: names and addresses of sign-ins, version 1", "sha256")

    async def is_familiar(self, account: int, caller: str) -> bool:
        """Whether the account's owner signed in from this address within 90 days."""
        return await is_familiar(self._pool, account, self._hash("address", caller), clock.now() - FAMILIAR_FOR)

    async def begin(self, login_key: str, caller: str, *, familiar: bool) -> Sequence[bytes]:
        """Count an attempt as failed; returns what `end` takes. Raises TooManyGuesses, StoreUnavailable."""
        bounds = [Bound(self._hash("pair", login_key, caller), MAX_FAILURES, WINDOW)]
        if not familiar:
            bounds.append(Bound(self._hash("login", login_key), MAX_FAILURES_OF_ACCOUNT, ACCOUNT_WINDOW))
            bounds.append(Bound(self._hash("caller", caller), MAX_FAILURES_OF_ADDRESS, WINDOW))
        now = clock.now()
        await sweep_failures(self._pool, now - ACCOUNT_WINDOW)
        async with transaction(self._pool) as inside:  # a refused attempt counts nowhere
            for bound in bounds:
                if (left := await add_failure(inside, bound, now)) is not None:
                    raise TooManyGuesses(ceil(left.total_seconds()))
        return [bound.key for bound in bounds]

    async def end(self, keys: Sequence[bytes]) -> None:
        """Take an attempt back that did not fail."""
        await take_back(self._pool, keys)

    async def set_familiar(self, account: int, caller: str) -> None:
        """Note that the account's owner signed in from this address."""
        await set_familiar(self._pool, account, self._hash("address", caller), clock.now())

    def _hash(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(parts).encode(), "sha256")
