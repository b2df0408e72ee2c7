"""The RSA keys that sign access tokens: made, sealed (encrypted) with the gateway's secret, opened.

Public keys are derived from the sealed private keys, never read from the table's `public` column: an attacker who can
write to the database but does not know the secret cannot make the gateway trust a key.
"""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey
from joserfc.util import base64_to_int

from db.postgres import Connection
from db.signing_keys import StoredKey, list_keys, make_first_key, reseal_keys, revoke_key, rotate_key

log = structlog.get_logger()

ALGORITHM = "RS256"
BITS = 2048
SIGNS_AFTER = timedelta(minutes=6)  # a new key signs once everybody knows it: the set may be cached for five minutes
SIGNS_SOON = timedelta(seconds=10)  # once every process of ours knows it
VERIFY_FOR = timedelta(days=1)  # the longest life of an access token
_SEALING = ["dir", "A256GCM"]


class Sealer:
    """Encrypts private keys for storage: JWE with AES-256-GCM, under a key derived from the gateway's secret.

    It opens what was sealed with any of its secrets, and seals with the first.
    """

    def __init__(self, secret: str, *accepted: str) -> None:
        self._keys = tuple(map(_sealing_key, (secret, *accepted)))

    def seal(self, key: RSAKey) -> StoredKey:
        """The key, encrypted for storage."""
        header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid}
        plain = orjson.dumps(key.as_dict(private=True))
        return StoredKey(
            key.kid or "", jwe.encrypt_compact(header, plain, self._keys[0], algorithms=_SEALING), public_jwk(key)
        )

    def open(self, stored: StoredKey) -> RSAKey | None:
        """The private key; None when it was sealed with an unknown secret, or was damaged or renamed."""
        return next((key for sealing in self._keys if (key := _opened(stored, sealing)) is not None), None)

    def is_current(self, stored: StoredKey) -> bool:
        """Whether the key was sealed with the first secret."""
        return _opened(stored, self._keys[0]) is not None


def _sealing_key(secret: str) -> OctKey:
    return OctKey.import_key(hmac.digest(secret.encode(), b"penchant: seal signing keys, version 1", "sha256"))


def _opened(stored: StoredKey, sealing: OctKey) -> RSAKey | None:
    try:
        found = jwe.decrypt_compact(stored.sealed, sealing, algorithms=_SEALING)
        key = _private_key(orjson.loads(found.plaintext or b""))
    except (JoseError, ValueError, KeyError):
        return None
    return key if key.kid == stored.kid else None


def _private_key(jwk: Mapping[str, str]) -> RSAKey:
    """The key that a JWK from `seal` holds, without OpenSSL's test of its primes, which takes 50 ms of CPU.

    The test finds numbers that an attacker chose. AES-GCM has proven that these are the ones that `seal` wrote.
    """
    n, e, d, p, q, dp, dq, qi = (base64_to_int(jwk[name]) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))
    numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n))
    private = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return RSAKey.import_key(private, {"use": "sig", "alg": ALGORITHM, "kid": jwk["kid"]})


class SigningKeys:
    """The keys with which this process signs and verifies, as of the last `refresh`."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._opened: dict[str, tuple[str, RSAKey | None]] = {}  # by kid: the sealed text that was read last, the key
        self._signing: RSAKey | None = None
        self._verifying: dict[str, RSAKey] = {}

    async def start(self, connection: Connection) -> None:
        """Seal the keys anew that another accepted secret seals; make the first key if there is none; read them all."""
        if resealed := await reseal_keys(connection, VERIFY_FOR, self._resealed):
            log.info("signing_keys_sealed_anew", keys=resealed)
        if await make_first_key(connection, self._usable, self._make):
            log.info("signing_key_made")
        await self.refresh(connection)

    async def refresh(self, connection: Connection) -> None:
        """Read the keys again, because other processes make and retire them too."""
        stored = await list_keys(connection, VERIFY_FOR)
        opened = [(entry, key) for entry in stored if (key := self._open(entry)) is not None]
        self._verifying = {entry.kid: key for entry, key in opened}
        self._signing = _signing_key(opened)
        self._opened = {entry.kid: self._opened[entry.kid] for entry in stored}

    async def rotate(
        self, connection: Connection, signs_after: timedelta, *, older_than: timedelta = timedelta(0)
    ) -> str | None:
        """Make a key that signs after that time, when the newest is older than `older_than`; its kid, or None.

        Raises KeysRefused, see `db.signing_keys.rotate_key`.
        """
        return await rotate_key(
            connection, VERIFY_FOR, self._usable, self._make, signs_after=signs_after, older_than=older_than
        )

    async def revoke(self, connection: Connection, kid: str) -> str:
        """Refuse every token of this key; the kid of the one that signs now. Raises KeysRefused."""
        return await revoke_key(connection, kid, self._usable, self._make)

    @property
    def signing(self) -> RSAKey:
        """The private key that signs now."""
        assert self._signing is not None, "call start() first"
        return self._signing

    def verifying(self, kid: str) -> RSAKey | None:
        """Our key of that id; None when no token signed by it can be valid any more."""
        return self._verifying.get(kid)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys as a JWK set."""
        return {"keys": [public_jwk(key) for key in self._verifying.values()]}

    async def _make(self) -> StoredKey:
        return self._sealer.seal(await asyncio.to_thread(generate_key))

    def _usable(self, stored: StoredKey) -> bool:
        return self._open(stored) is not None

    def _resealed(self, stored: StoredKey) -> StoredKey | None:
        """The key under the first secret; None when nothing has to change, or when it cannot be opened."""
        if self._sealer.is_current(stored) or (key := self._sealer.open(stored)) is None:
            return None
        return self._sealer.seal(key)

    def _open(self, stored: StoredKey) -> RSAKey | None:
        """The private key. One that was opened stays open: a newer process may seal it anew with a secret of its own.

        That is safe, because a key's id is the thumbprint of the key.
        """
        sealed, key = self._opened.get(stored.kid, ("", None))
        if sealed != stored.sealed:
            key = self._sealer.open(stored) or key
            self._opened[stored.kid] = stored.sealed, key
            if key is None:
                log.error(
                    "signing_key_unreadable",
                    kid=stored.kid,
                    hint="another PENCHANT_SECRET, or damaged",
                )
        return key


def generate_key() -> RSAKey:
    """A new RSA key, named by its thumbprint (RFC 7638). Takes about a tenth of a second of CPU."""
    key = RSAKey.generate_key(BITS, {"use": "sig", "alg": ALGORITHM})
    key.ensure_kid()
    return key


def public_jwk(key: RSAKey) -> dict[str, Any]:
    """The public half, as a JWK."""
    return dict(key.as_dict(private=False))


def _signing_key(newest_first: Sequence[tuple[StoredKey, RSAKey]]) -> RSAKey | None:
    live = [(stored, key) for stored, key in newest_first if stored.live]
    begun = [key for stored, key in live if stored.begun]
    return next(iter(begun or [key for _, key in live]), None)
