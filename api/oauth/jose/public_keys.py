"""Reads a public key from its JWK: strong, public, for signatures, and for algorithms that are accepted."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from api.oauth.jose.compact import NAMES
from core.errors import PenchantError

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that are accepted, with the kind and the curve of their keys."""
MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
"""The numbers that make a public key, by its kind."""

LONGEST_KID: Final = 256  # characters
SHORTEST_RSA, LONGEST_RSA = 2048, 8192  # bits
LARGEST_EXPONENT: Final = 2**32
_LONGEST_NUMBER: Final = LONGEST_RSA // 6 + 2  # characters of base64
_BASE64URL: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NUMBER}}}")
_KINDS: Final[Mapping[str, Any]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class UnusableKey(PenchantError):
    """The key cannot be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures, and the algorithms that it is for. `thumbprint` says which key it is."""

    kid: str | None
    algorithms: tuple[str, ...]
    thumbprint: str
    key: Key = field(compare=False)


def read_public_key(jwk: object, algorithms: Sequence[str], longest_rsa: int = LONGEST_RSA) -> PublicKey:
    """The key in a JWK. Its algorithm is the one it names, else those of `algorithms` that fit its kind.

    Raises UnusableKey for shared secrets, private and weak keys, RSA of more than `longest_rsa` bits, and all else.
    """
    if not isinstance(jwk, dict):
        raise UnusableKey("It is not an object.")
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= LONGEST_KID):
        raise UnusableKey(f"Its id (`kid`) is not a text of 1 to {LONGEST_KID} characters.")
    if "k" in jwk or "d" in jwk:
        raise UnusableKey("It is a shared secret or a private key, and everybody can read it.")
    if jwk.get("use", "sig") != "sig" or "verify" not in _operations(jwk):
        raise UnusableKey("It is not for signatures.")
    fitting = _algorithms_of(jwk, algorithms)
    try:
        key = _import(jwk, ALGORITHMS[fitting[0]][0], longest_rsa)
        return PublicKey(kid, fitting, key.thumbprint(), key)
    except (JoseError, ValueError, TypeError, OverflowError) as error:
        raise UnusableKey("Its numbers are not a key.") from error


def _operations(jwk: Mapping[str, Any]) -> Sequence[object]:
    named = jwk.get("key_ops", ["verify"])
    return named if isinstance(named, list) else []


def _algorithms_of(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> tuple[str, ...]:
    kind = jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None
    fitting = [name for name in algorithms if ALGORITHMS[name] == kind]
    named = jwk.get("alg")
    if named is not None:
        fitting = [name for name in fitting if name == (NAMES.get(named, named) if isinstance(named, str) else None)]
    if not fitting:
        raise UnusableKey(f"It is not for {' or '.join(algorithms)}.")
    return tuple(fitting)


def _import(jwk: Mapping[str, Any], kind: str, longest_rsa: int) -> Key:
    """The public key, from the members that make it and no others. Raises UnusableKey, JoseError or ValueError."""
    numbers = {name: _number(jwk, name) for name in MEMBERS[kind]}
    if kind == "RSA":
        _check_rsa(numbers["n"], numbers["e"], longest_rsa)
    curve = {} if kind == "RSA" else {"crv": jwk["crv"]}
    key: Key = _KINDS[kind].import_key({"kty": kind, **curve, **numbers})
    return key


def _number(jwk: Mapping[str, Any], name: str) -> str:
    number = jwk.get(name)
    if not isinstance(number, str) or not _BASE64URL.fullmatch(number):
        raise UnusableKey("One of its numbers is missing, too long or not base64url.")
    return number


def _check_rsa(modulus: str, exponent: str, longest: int) -> None:
    n, e = _integer(modulus), _integer(exponent)
    if not SHORTEST_RSA <= n.bit_length() <= longest or not n & 1:
        raise UnusableKey(f"Its modulus is not an odd number of {SHORTEST_RSA} to {longest} bits.")
    if not 3 <= e < LARGEST_EXPONENT or not e & 1:
        raise UnusableKey("Its exponent is not an odd number from 3 to 2^32.")


def _integer(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
