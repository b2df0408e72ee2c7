"""Client secrets: hashed with argon2id for storage, checked at the cost of one run per client and process."""

import hmac
import os

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from db.clients import Client

MOST_REMEMBERED = 1024
# OWASP's lean setting: 19 MiB and about 30 ms, so that a handful of checks at once do not hurt the answers beside them.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODY = _HASHER.hash(os.urandom(16))


def hash_secret(secret: str) -> str:
    """The argon2id hash to store for `secret`."""
    return _HASHER.hash(secret)


class SecretChecker:
    """Checks secrets, and remembers the last good one of each client so that only its first use costs an argon2 run.

    What is remembered is an HMAC under a key that never leaves this process, together with the stored hash it was good
    for: a changed secret or a disabled client counts at once, because the client itself is read anew each time.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._good: dict[str, tuple[str, bytes]] = {}

    def check(self, client: Client | None, secret: str) -> bool:
        """Whether `secret` is the client's. Takes as long for an unknown client as for a wrong secret. Blocks."""
        stored = client.secret_hash if client else None
        if client is None or stored is None:
            _matches(_NOBODY, secret)
            return False
        print_ = hmac.digest(self._key, secret.encode(), "sha256")
        remembered_hash, remembered = self._good.get(client.id, ("", b""))
        if remembered_hash == stored and hmac.compare_digest(remembered, print_):
            return True
        if not _matches(stored, secret):
            return False
        self._remember(client.id, stored, print_)
        return True

    def _remember(self, client_id: str, stored: str, print_: bytes) -> None:
        if len(self._good) >= MOST_REMEMBERED:
            self._good.clear()
        self._good[client_id] = (stored, print_)


def _matches(stored: str, secret: str) -> bool:
    try:
        return _HASHER.verify(stored, secret)
    except (VerificationError, ValueError):
        return False
