"""Client assertions: JWTs by which a client proves that it has its private key (private_key_jwt, RFC 7523)."""

from collections.abc import Collection
from typing import Any, NamedTuple

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from api.oauth.clients.client_keys import ALGORITHMS, keys_for
from db.clients import Client

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 4096  # characters
LONGEST_ID = 256  # characters of `jti`
MAX_AHEAD = 300  # seconds that an assertion may be valid
LEEWAY = 5  # seconds that clocks may differ


class BadAssertion(Exception):
    """The assertion does not prove that its client sent it."""


class Assertion(NamedTuple):
    """A valid assertion: its id, and the moment it expires, in seconds since 1970."""

    jti: str
    expires_at: float


class _Algorithms(jws.JWSRegistry):
    """joserfc's own registry warns at each use of EdDSA, because a newer RFC gave it the name Ed25519."""

    def get_alg(self, name: str) -> Any:
        """The algorithm of this name. Raises KeyError."""
        return {name: self.algorithms[name] for name in ALGORITHMS}[name]


def client_of(assertion: str) -> str:
    """The client that an assertion names. Nothing is proved by that. Raises BadAssertion."""
    _, claims = _read(assertion)
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise BadAssertion
    return subject


def check_assertion(assertion: str, client: Client, audiences: Collection[str], now: float) -> Assertion:
    """The assertion, when a key of the client signed it for one of these audiences and it is valid at `now`.

    Whether its id was used before is up to the caller. Raises BadAssertion.
    """
    signed, claims = _read(assertion)
    header = signed.headers()
    algorithm, kid = header.get("alg"), header.get("kid")
    if client.jwks is None or algorithm not in ALGORITHMS or not isinstance(kid, str | None):
        raise BadAssertion
    try:
        keys = keys_for(client.jwks, algorithm, kid)
        registry = _Algorithms()
        if not any(jws.validate_compact(signed, key, registry=registry) for key in keys):
            raise BadAssertion
    except (JoseError, KeyError, ValueError, TypeError):
        raise BadAssertion from None
    return _valid(claims, client.id, audiences, now)


def _valid(claims: dict[str, Any], client_id: str, audiences: Collection[str], now: float) -> Assertion:
    named = claims.get("aud")
    named = named if isinstance(named, list) else [named]
    if not claims.get("iss") == claims.get("sub") == client_id or not {*filter(_is_text, named)} & {*audiences}:
        raise BadAssertion
    if not all(_is_number(start) and start <= now + LEEWAY for start in (claims.get("nbf", 0), claims.get("iat", 0))):
        raise BadAssertion
    jti, ends = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_ID:
        raise BadAssertion
    if not isinstance(ends, int | float) or isinstance(ends, bool) or not now < ends <= now + MAX_AHEAD + LEEWAY:
        raise BadAssertion
    return Assertion(jti, float(ends))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(assertion: str) -> tuple[jws.CompactSignature, dict[str, Any]]:
    try:
        signed = jws.extract_compact(assertion.encode("ascii") if len(assertion) <= LONGEST else b"")
        claims = orjson.loads(signed.payload)
    except (JoseError, ValueError):
        raise BadAssertion from None
    if not isinstance(claims, dict):
        raise BadAssertion
    return signed, claims
