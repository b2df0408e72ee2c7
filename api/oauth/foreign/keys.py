"""Reads the public keys of a foreign issuer from its JWK set. Each key has exactly one algorithm."""

import re
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from core.errors import PenchantError

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that an issuer may have, with the kind and the curve of their keys."""
NAMES: Final = {"Ed25519": "EdDSA"}
"""Another name of an algorithm (RFC 9864)."""

MOST_KEYS: Final = 100
LONGEST_KID: Final = 256  # characters
SHORTEST_RSA, LONGEST_RSA = 2048, 8192  # bits
LARGEST_EXPONENT: Final = 2**32
_LONGEST_NUMBER: Final = LONGEST_RSA // 6 + 2  # characters of base64
_BASE64URL: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NUMBER}}}")
_LONGEST_SHOWN: Final = 64  # characters of a key id in a message


class UnreadableKeys(PenchantError):
    """The keys of an issuer cannot be read."""


class UnusableKey(PenchantError):
    """One key of a set cannot be used; the others can."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures, and the one algorithm that it is for. `thumbprint` says which key it is."""

    kid: str
    algorithm: str
    thumbprint: str
    key: Key = field(compare=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer by id, and why the others are not used."""

    usable: Mapping[str, PublicKey]
    unusable: tuple[str, ...]


def read_key_set(document: object, algorithms: Sequence[str]) -> KeySet:
    """The keys in a JWK set that are for one of these algorithms. Raises UnreadableKeys when there are none.

    Two different keys of one id are both unusable. Shared secrets, private keys and weak keys are unusable.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise UnreadableKeys("It is not a JWK set: an object with the list `keys`.")
    if len(listed) > MOST_KEYS:
        raise UnreadableKeys(f"It has more than {MOST_KEYS} keys.")
    read: list[PublicKey] = []
    unusable: list[str] = []
    for jwk in listed:
        try:
            read.append(_read_key(jwk, algorithms))
        except UnusableKey as error:
            unusable.append(f"{_name_of(jwk)}: {error}")
    different = Counter(kid for kid, _ in {(key.kid, key.thumbprint) for key in read})
    unusable += [f"{_shown(kid)}: Several keys have this id." for kid, count in different.items() if count > 1]
    usable = {key.kid: key for key in read if different[key.kid] == 1}
    if not usable:
        raise UnreadableKeys(f"It has no usable key for {' or '.join(algorithms)}. {' '.join(unusable[:3])}".strip())
    return KeySet(usable, tuple(unusable))


def _read_key(jwk: object, algorithms: Sequence[str]) -> PublicKey:
    if not isinstance(jwk, dict):
        raise UnusableKey("It is not an object.")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_KID:
        raise UnusableKey(f"It has no id (`kid`) of 1 to {LONGEST_KID} characters.")
    if "k" in jwk or "d" in jwk:
        raise UnusableKey("It is a shared secret or a private key, and everybody can read it.")
    if jwk.get("use", "sig") != "sig" or "verify" not in _operations(jwk):
        raise UnusableKey("It is not for signatures.")
    algorithm = _algorithm_of(jwk, algorithms)
    try:
        key = _import(jwk, algorithm)
        return PublicKey(kid, algorithm, key.thumbprint(), key)
    except (JoseError, ValueError, TypeError, OverflowError) as error:
        raise UnusableKey("Its numbers are not a key.") from error


def _operations(jwk: Mapping[str, Any]) -> Sequence[object]:
    named = jwk.get("key_ops", ["verify"])
    return named if isinstance(named, list) else []


def _algorithm_of(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> str:
    """The algorithm of a key: the one it names, else the first of the issuer's that fits its kind."""
    kind = jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None
    fitting = [name for name in algorithms if ALGORITHMS[name] == kind]
    named = jwk.get("alg")
    if named is not None:
        fitting = [name for name in fitting if name == (NAMES.get(named, named) if isinstance(named, str) else None)]
    if not fitting:
        raise UnusableKey(f"It is not for {' or '.join(algorithms)}.")
    return fitting[0]


def _import(jwk: Mapping[str, Any], algorithm: str) -> Key:
    """The public key, from the members that make it and no others. Raises UnusableKey, JoseError or ValueError."""
    kind = ALGORITHMS[algorithm][0]
    members = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}[kind]
    numbers = {name: _number(jwk, name) for name in members}
    if kind == "RSA":
        _check_rsa(numbers["n"], numbers["e"])
        return RSAKey.import_key({"kty": kind, **numbers})
    if kind == "EC":
        return ECKey.import_key({"kty": kind, "crv": jwk["crv"], **numbers})
    return OKPKey.import_key({"kty": kind, "crv": jwk["crv"], **numbers})


def _number(jwk: Mapping[str, Any], name: str) -> str:
    number = jwk.get(name)
    if not isinstance(number, str) or not _BASE64URL.fullmatch(number):
        raise UnusableKey("One of its numbers is missing, too long or not base64url.")
    return number


def _check_rsa(modulus: str, exponent: str) -> None:
    n, e = _integer(modulus), _integer(exponent)
    if not SHORTEST_RSA <= n.bit_length() <= LONGEST_RSA or not n & 1:
        raise UnusableKey(f"Its modulus is not an odd number of {SHORTEST_RSA} to {LONGEST_RSA} bits.")
    if not 3 <= e < LARGEST_EXPONENT or not e & 1:
        raise UnusableKey("Its exponent is not an odd number from 3 to 2^32.")


def _integer(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _name_of(jwk: object) -> str:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return _shown(kid) if isinstance(kid, str) else "a key without id"


def _shown(kid: str) -> str:
    """A key id as messages show it: short, and without control characters."""
    return ascii(kid[:_LONGEST_SHOWN])[1:-1]
