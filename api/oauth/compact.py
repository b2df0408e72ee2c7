"""Reads the parts of a signed token strictly: one spelling of each token, and each name in it once."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def check_spelling(token: str) -> None:
    """Raise ValueError unless a token is three parts of base64url, without padding, as its signature is written.

    Decoders also take other spare bits in the last letter; what is signed cannot be spelled in two ways anyway.
    """
    signature = token.rpartition(".")[2]
    if not _COMPACT.fullmatch(token) or urlsafe_b64encode(from_base64url(signature)) != _padded(signature):
        raise ValueError("the token must be three parts of base64url without padding")


def from_base64url(text: str) -> bytes:
    """The bytes that base64url without padding spells. Raises ValueError."""
    return urlsafe_b64decode(_padded(text))


def _padded(text: str) -> bytes:
    return (text + "=" * (-len(text) % 4)).encode("ascii")


def read_object(raw: bytes | str) -> dict[str, Any]:
    """A JSON object in which no name is repeated (RFC 7519, section 4). Raises ValueError."""
    found = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("a header and claims must be objects")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is repeated")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
