"""The public keys of a client that authenticates with private_key_jwt: which are accepted, and their algorithms."""

from collections.abc import Mapping
from typing import Any

import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from core.errors import InvalidInput

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")  # the last two are names of one
LONGEST_SET = 16_384  # characters
MAX_KEYS = 10
SMALLEST_RSA, LARGEST_RSA = 2048, 4096  # bits
_RULE = (
    f"Public keys are a JWK set of 1 to {MAX_KEYS} keys: RSA with {SMALLEST_RSA} to {LARGEST_RSA} bits, EC P-256 or"
    " Ed25519, without private parts, each with its own kid or none"
)

ClientKey = RSAKey | ECKey | OKPKey
_KINDS: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


def check_jwks(text: str) -> dict[str, Any]:
    """The keys as stored: the public parts of a JWK set. Raises InvalidInput for any other text."""
    try:
        found = orjson.loads(text) if len(text) <= LONGEST_SET else None
        keys = [_public_jwk(key) for key in found["keys"]] if isinstance(found, dict) else []
    except (ValueError, TypeError, KeyError, JoseError, AttributeError):
        raise InvalidInput(_RULE, "jwks") from None
    ids = [key["kid"] for key in keys if "kid" in key]
    if not 0 < len(keys) <= MAX_KEYS or len(set(ids)) < len(ids):
        raise InvalidInput(_RULE, "jwks")
    return {"keys": keys}


def keys_for(jwks: Mapping[str, Any], algorithm: str, kid: str | None) -> list[ClientKey]:
    """The stored keys that may have signed with this algorithm: the one named by `kid`, without it all that fit."""
    return [
        _import(jwk)
        for jwk in jwks["keys"]
        if algorithm in algorithms_of(jwk) and (kid is None or jwk.get("kid") == kid)
    ]


def algorithms_of(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    """The algorithms a key may sign with: those of its kind, or the one that it names itself."""
    kinds: dict[tuple[Any, Any], tuple[str, ...]] = {
        ("RSA", None): ("RS256", "PS256"),
        ("EC", "P-256"): ("ES256",),
        ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    }
    kind = kinds.get((jwk.get("kty"), jwk.get("crv")), ())
    return kind if "alg" not in jwk else tuple(name for name in kind if name == jwk["alg"])


def _public_jwk(jwk: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError, TypeError or JoseError for a key that is not accepted."""
    if jwk["kty"] == "RSA" and not SMALLEST_RSA <= 8 * len(urlsafe_b64decode(jwk["n"].encode())) <= LARGEST_RSA:
        raise ValueError("too small or too large")
    key = _import(jwk)
    kid = jwk.get("kid")
    if key.is_private or not algorithms_of(jwk) or jwk.get("use", "sig") != "sig":
        raise ValueError("a private key, or one for something else")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= 128):
        raise ValueError("kid must be a short text")
    wanted = ("kty", "crv", "n", "e", "x", "y", "kid", "alg")
    return {name: jwk[name] for name in wanted if name in jwk}


def _import(jwk: Mapping[str, Any]) -> ClientKey:
    key: ClientKey = _KINDS[jwk["kty"]].import_key(dict(jwk))
    return key
