"""Client secrets: hashed with argon2id for storage, and checked with one argon2 run per client and process."""

import hmac
import os

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from db.clients import Client

MAX_REMEMBERED = 1024
# OWASP's smallest setting, 19 MiB and about 30 ms: a few checks at once do not slow other answers down.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_DUMMY_HASH = _HASHER.hash(os.urandom(16))


def hash_secret(secret: str) -> str:
    """The argon2id hash to store for `secret`."""
    return _HASHER.hash(secret)


def matches_hash(stored: str | None, secret: str) -> bool:
    """Whether the hash was made of `secret`. Without a hash it is not, and that takes as long. Blocks."""
    return _matches(stored or _DUMMY_HASH, secret) and stored is not None


class SecretChecker:
    """Checks secrets. It remembers the last correct ones of each client, so only the first use costs an argon2 run.

    It remembers an HMAC under a key of this process for the stored hash that the secret matched. A changed secret or
    a disabled client counts at once, because the client itself is read from Postgres each time.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._good: dict[str, dict[str, bytes]] = {}  # by client, by stored hash

    def check(self, client: Client | None, secret: str) -> bool:
        """Whether `secret` is the client's. An unknown client takes as long as a wrong secret. Blocks."""
        if client is None or client.secret_hash is None:
            _matches(_DUMMY_HASH, secret)
            return False
        stored = [hash for hash in (client.secret_hash, client.previous_hash) if hash is not None]
        fingerprint = self._fingerprint(secret)
        good = self._good.get(client.id, {})
        if any(hmac.compare_digest(good.get(hash, b""), fingerprint) for hash in stored):
            return True
        matched = next((hash for hash in stored if _matches(hash, secret)), None)
        if matched is None:
            return False
        self._remember(client.id, {hash: good[hash] for hash in stored if hash in good} | {matched: fingerprint})
        return True

    def remembers(self, client_id: str, secret: str) -> bool:
        """Whether `secret` was the client's when it was checked last. Costs no argon2 run and proves nothing."""
        fingerprint = self._fingerprint(secret)
        return any(hmac.compare_digest(good, fingerprint) for good in self._good.get(client_id, {}).values())

    def forget(self, client_id: str, secret: str) -> None:
        """Forget a secret that is not the client's any more. A wrong secret makes no right one forgotten."""
        if self.remembers(client_id, secret):
            self._good.pop(client_id, None)

    def _fingerprint(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode(), "sha256")

    def _remember(self, client_id: str, good: dict[str, bytes]) -> None:
        self._good.pop(client_id, None)
        if len(self._good) >= MAX_REMEMBERED:
            self._good.pop(next(iter(self._good)), None)  # the one that was checked first
        self._good[client_id] = good


def _matches(stored: str, secret: str) -> bool:
    try:
        return _HASHER.verify(stored, secret)
    except (VerificationError, ValueError):
        return False
