"""Reads a signed token strictly: one spelling of each token, each name in it once, and only numbers that exist."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

NAMES: Final = {"Ed25519": "EdDSA"}
"""Another name of an algorithm (RFC 9864)."""

MOST_BRACKETS: Final = 500  # that open objects or lists
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SIGNERS: Final = {"EdDSA": "Ed25519"}  # the name in joserfc
_REFUSED_HEADERS: Final = frozenset({"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5c", "x5u"})


class SignedToken(NamedTuple):
    """A token whose signature was not checked yet: nothing in it is proved."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: jws.CompactSignature


def read_signed(token: str) -> SignedToken:
    """The header and the claims of a token: each an object, the header of at most 512 bytes. Raises ValueError."""
    _check_spelling(token)
    try:
        signed = jws.extract_compact(token.encode("ascii"))
    except (JoseError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("the token cannot be read") from error
    header = read_object(urlsafe_b64decode(_padded(token.partition(".")[0])))
    return SignedToken(header, read_object(signed.payload or b""), signed)


def check_header(header: Mapping[str, Any], types: Collection[str]) -> tuple[str, str | None]:
    """The algorithm and the key id in the header of a token from elsewhere. Raises ValueError.

    Its type, in lower case, is one of `types`; a token without one counts as `jwt`. It names no key but by `kid`.
    """
    algorithm, kid, type_ = header.get("alg"), header.get("kid"), header.get("typ", "jwt")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None) or not isinstance(type_, str):
        raise ValueError("alg, kid and typ must be strings")
    if type_.lower() not in types or _REFUSED_HEADERS & header.keys():
        raise ValueError("another type, or a header that is not accepted")
    return NAMES.get(algorithm, algorithm), kid


def is_signed_by(token: SignedToken, key: Key, algorithm: str) -> bool:
    """Whether this key signed the token with this one algorithm, whatever its header says."""
    name = _SIGNERS.get(algorithm, algorithm)
    signed = jws.CompactSignature({"alg": name}, token.signed.payload)
    signed.segments = token.signed.segments
    try:
        return jws.validate_compact(signed, key, algorithms=[name])
    except (JoseError, ValueError, TypeError, KeyError):
        return False


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no name is repeated (RFC 7519, section 4). Raises ValueError.

    The first reader refuses other encodings, halves of characters and numbers beyond any float; the second, repeated
    names.
    """
    if raw.count(b"{") + raw.count(b"[") > MOST_BRACKETS:  # the second reader goes as deep as the stack, and no deeper
        raise ValueError("it holds too many objects and lists")
    orjson.loads(raw)
    found = json.loads(raw, object_pairs_hook=_unique)
    if not isinstance(found, dict):
        raise ValueError("it must be an object")
    return found


def _check_spelling(token: str) -> None:
    """Raise ValueError unless a token is three parts of base64url, without padding, as its signature is written.

    Decoders also take other spare bits in the last letter; what is signed cannot be spelled in two ways anyway.
    """
    signature = token.rpartition(".")[2]
    if not _COMPACT.fullmatch(token) or urlsafe_b64encode(urlsafe_b64decode(_padded(signature))) != _padded(signature):
        raise ValueError("the token must be three parts of base64url without padding")


def _padded(text: str) -> bytes:
    return (text + "=" * (-len(text) % 4)).encode("ascii")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is repeated")
    return found
