"""Client assertions: JWTs by which a client proves that it has its private key (private_key_jwt, RFC 7523)."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from api.oauth.clients.client_keys import read_keys
from api.oauth.jose.compact import SignedToken, check_header, is_signed_by, read_signed
from api.oauth.jose.public_keys import PublicKey
from db.clients import Client

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 4096  # characters
LONGEST_ID = 256  # characters of `jti`
MAX_AHEAD = 300  # seconds that an assertion may be valid
LEEWAY = 5  # seconds that clocks may differ
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})


class BadAssertion(Exception):
    """The assertion does not prove that its client sent it."""


class Assertion(NamedTuple):
    """A valid assertion: its id, and the moment it expires, in seconds since 1970."""

    jti: str
    expires_at: float


def client_of(assertion: str) -> str:
    """The client that an assertion names. Nothing is proved by that. Raises BadAssertion."""
    subject = _read(assertion).claims.get("sub")
    if not isinstance(subject, str):
        raise BadAssertion
    return subject


def recognized(
    assertion: str, client_id: str, keys: Sequence[PublicKey], audiences: Collection[str], now: float
) -> Assertion | None:
    """The assertion, when it is valid and the one key that may have signed it did; else None.

    That is the key that it names, or the only one that fits: at most one signature is checked, so that a forged one
    costs little.
    """
    try:
        token = _read(assertion)
        valid = _valid(token.claims, client_id, audiences, now)
        algorithm, fitting = _fitting(token, keys)
    except BadAssertion:
        return None
    return valid if len(fitting) == 1 and is_signed_by(token, fitting[0].key, algorithm) else None


def check_assertion(assertion: str, client: Client, audiences: Collection[str], now: float) -> Assertion:
    """The assertion, when a key of the client signed it for one of these audiences and it is valid at `now`.

    Whether its id was used before is up to the caller. Raises BadAssertion.
    """
    token = _read(assertion)
    algorithm, fitting = _fitting(token, [] if client.jwks is None else read_keys(client.jwks))
    if not any(is_signed_by(token, key.key, algorithm) for key in fitting):
        raise BadAssertion
    return _valid(token.claims, client.id, audiences, now)


def _fitting(token: SignedToken, keys: Sequence[PublicKey]) -> tuple[str, list[PublicKey]]:
    """The algorithm of an assertion, and the keys that may have signed it. Raises BadAssertion."""
    try:
        algorithm, kid = check_header(token.header, _TYPES)
    except ValueError:
        raise BadAssertion from None
    return algorithm, [key for key in keys if algorithm in key.algorithms and kid in (None, key.kid)]


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


def _read(assertion: str) -> SignedToken:
    try:
        return read_signed(assertion if len(assertion) <= LONGEST else "")
    except ValueError:
        raise BadAssertion from None
