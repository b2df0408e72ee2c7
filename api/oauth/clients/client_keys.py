"""The public keys of a client that authenticates with private_key_jwt: which are accepted, and which are remembered."""

from collections.abc import Mapping
from typing import Any

from api.oauth.jose.compact import read_object
from api.oauth.jose.public_keys import ALGORITHMS, MEMBERS, SHORTEST_RSA, PublicKey, UnusableKey, read_public_key
from core.errors import InvalidInput

ALGORITHM_NAMES = (*ALGORITHMS, "Ed25519")  # the last two are names of one
LONGEST_SET = 16_384  # characters
LONGEST_KID = 128  # characters
LARGEST_RSA = 4096  # bits
MAX_KEYS = 10
MAX_REMEMBERED = 1024  # clients
MAX_USED = 20_000  # assertions
_RULE = (
    f"Public keys are a JWK set of 1 to {MAX_KEYS} keys: RSA with {SHORTEST_RSA} to {LARGEST_RSA} bits, EC P-256 or"
    " Ed25519, without private parts, each with its own kid or none"
)


class RememberedKeys:
    """The keys of the clients whose assertions were right in this process, and the ids of the newest of these.

    For one event loop and its threads.
    """

    def __init__(self) -> None:
        self._keys: dict[str, tuple[Mapping[str, Any], list[PublicKey]]] = {}  # by client: as stored, and read
        self._used: dict[tuple[str, str], None] = {}

    def remember(self, client_id: str, jwks: Mapping[str, Any], assertion_id: str) -> None:
        """Remember the keys of a client that has proved by this assertion that it has one of them."""
        if len(self._used) >= MAX_USED:
            self._used.pop(next(iter(self._used)), None)
        self._used[client_id, assertion_id] = None
        if self._keys.get(client_id, ({}, []))[0] == jwks:
            return
        keys = read_keys(jwks)
        self._keys.pop(client_id, None)
        if len(self._keys) >= MAX_REMEMBERED:
            self._keys.pop(next(iter(self._keys)), None)  # the one that was remembered first
        self._keys[client_id] = jwks, keys

    def was_used(self, client_id: str, assertion_id: str) -> bool:
        """Whether this assertion was used in this process, as far as it remembers."""
        return (client_id, assertion_id) in self._used

    def forget_unless(self, client_id: str, jwks: Mapping[str, Any] | None) -> None:
        """Forget the keys of a client that has others now, or none."""
        if self._keys.get(client_id, (jwks, []))[0] != jwks:
            self._keys.pop(client_id, None)

    def of(self, client_id: str) -> list[PublicKey]:
        """The remembered keys of a client."""
        return self._keys.get(client_id, ({}, []))[1]


def check_jwks(text: str) -> dict[str, Any]:
    """The keys as stored: the public parts of a JWK set. Raises InvalidInput for any other text."""
    try:
        found = read_object(text.encode()) if len(text) <= LONGEST_SET else {}
        listed = found.get("keys")
        keys = [_stored(jwk) for jwk in listed] if isinstance(listed, list) else []
    except (ValueError, UnusableKey):
        raise InvalidInput(_RULE, "jwks") from None
    ids = [key["kid"] for key in keys if "kid" in key]
    if not 0 < len(keys) <= MAX_KEYS or len(set(ids)) < len(ids):
        raise InvalidInput(_RULE, "jwks")
    return {"keys": keys}


def read_keys(jwks: Mapping[str, Any]) -> list[PublicKey]:
    """The stored keys that can be used."""
    found = []
    for jwk in jwks["keys"]:
        try:
            found.append(read_public_key(jwk, tuple(ALGORITHMS), LARGEST_RSA))
        except UnusableKey:  # another release accepted it
            continue
    return found


def _stored(jwk: Any) -> dict[str, Any]:
    """The public parts of a key. Raises UnusableKey."""
    key = read_public_key(jwk, tuple(ALGORITHMS), LARGEST_RSA)
    if key.kid is not None and len(key.kid) > LONGEST_KID:
        raise UnusableKey("Its id is too long.")
    wanted = ("kty", "crv", *MEMBERS[jwk["kty"]], "kid", "alg")
    return {name: jwk[name] for name in wanted if name in jwk}
