"""The public keys of a foreign issuer, from its JWK set. Each key has exactly one algorithm."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from api.oauth.jose.public_keys import LONGEST_KID, PublicKey, UnusableKey, read_public_key
from core.errors import PenchantError

MOST_KEYS: Final = 100
_LONGEST_SHOWN: Final = 64  # characters of a key id in a message


class UnreadableKeys(PenchantError):
    """The keys of an issuer cannot be read."""


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
    read: list[tuple[str, PublicKey]] = []
    unusable: list[str] = []
    for jwk in listed:
        try:
            read.append(_read_key(jwk, algorithms))
        except UnusableKey as error:
            unusable.append(f"{_name_of(jwk)}: {error}")
    different = Counter(kid for kid, _ in {(kid, key.thumbprint) for kid, key in read})
    unusable += [f"{_shown(kid)}: Several keys have this id." for kid, count in different.items() if count > 1]
    usable = {kid: key for kid, key in read if different[kid] == 1}
    if not usable:
        raise UnreadableKeys(f"It has no usable key for {' or '.join(algorithms)}. {' '.join(unusable[:3])}".strip())
    return KeySet(usable, tuple(unusable))


def _read_key(jwk: object, algorithms: Sequence[str]) -> tuple[str, PublicKey]:
    """Id and key, with the first of the issuer's algorithms that fits when the key names none. Raises UnusableKey."""
    key = read_public_key(jwk, algorithms)
    if key.kid is None:
        raise UnusableKey(f"It has no id (`kid`) of 1 to {LONGEST_KID} characters.")
    return key.kid, replace(key, algorithms=key.algorithms[:1])


def _name_of(jwk: object) -> str:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return _shown(kid) if isinstance(kid, str) else "a key without id"


def _shown(kid: str) -> str:
    """A key id as messages show it: short, and without control characters."""
    return ascii(kid[:_LONGEST_SHOWN])[1:-1]
