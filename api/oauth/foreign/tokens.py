"""Reads an access token of a foreign issuer: its header before the key is known, its claims after the signature."""

from collections.abc import Mapping
from typing import Any, Final

from api.oauth.jose.compact import SignedToken, check_header, is_signed_by
from api.oauth.jose.public_keys import PublicKey
from core import clock
from core.contract import Person, check_user_id
from core.errors import InvalidInput, InvalidToken
from db.issuers import Issuer
from engine.scopes import PEOPLE
from engine.viewer import Viewer

LEEWAY: Final = 5  # seconds that the issuer's clock may be ahead of ours
LONGEST_LIFE: Final = 86_400  # seconds until a token expires
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_NOT_ACCESS: Final = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})  # of ID tokens and logout tokens
_BOUND: Final = "cnf"  # of a token that only the holder of a key may use, which a bearer does not prove


def read_header(token: SignedToken) -> tuple[str, str]:
    """The algorithm and the key id in the header of a token. Raises InvalidToken for a header that we refuse."""
    try:
        algorithm, kid = check_header(token.header, _TYPES)
    except ValueError as error:
        raise InvalidToken() from error
    if kid is None:
        raise InvalidToken()
    return algorithm, kid


def read_claims(token: SignedToken, algorithm: str, key: PublicKey) -> dict[str, Any]:
    """The claims of a token that this key signed with its one algorithm. Raises InvalidToken for any other token."""
    if (algorithm,) != key.algorithms or not is_signed_by(token, key.key, algorithm):
        raise InvalidToken()
    return token.claims


def viewer_of(claims: Mapping[str, Any], issuer: Issuer) -> Viewer:
    """The person whom an access token of this issuer is for, and what it allows.

    Raises InvalidToken for a token for others, of a program, of another kind, or outside its time.
    """
    if claims.get("iss") != issuer.url or not _is_for(claims.get("aud"), issuer.audience):
        raise InvalidToken()
    if _NOT_ACCESS & claims.keys() or _BOUND in claims or claims.get("typ") in ("ID", "Refresh"):
        raise InvalidToken()
    expires_at = _check_times(claims)
    try:
        subject = check_user_id(claims.get(issuer.subject_claim), issuer.subject_claim)
    except InvalidInput as error:
        raise InvalidToken() from error
    if _is_of_program(claims, subject):
        raise InvalidToken()
    scopes = frozenset(issuer.scopes) & PEOPLE & _claimed_scopes(claims, issuer)
    return Viewer(issuer.client_id or issuer.url, scopes, Person("user", subject), expires_at)


def _is_for(audience: object, ours: str) -> bool:
    return audience == ours or (isinstance(audience, list) and ours in audience)


def _check_times(claims: Mapping[str, Any]) -> int:
    """When the token expires, in whole seconds. Raises InvalidToken."""
    now = clock.now().timestamp()
    expires = _seconds(claims, "exp")
    if expires is None or not now < expires <= now + LONGEST_LIFE + LEEWAY:
        raise InvalidToken()
    for name in ("nbf", "iat"):
        begins = _seconds(claims, name)
        if begins is not None and begins > now + LEEWAY:
            raise InvalidToken()
    return int(expires)


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken()
    return value


def _is_of_program(claims: Mapping[str, Any], subject: str) -> bool:
    """Whether the token was given to a program for itself: its subject is a client of the issuer, not a person."""
    programs = [name for key in ("client_id", "azp", "appid") if isinstance(name := claims.get(key), str)]
    named = any(subject in (name, f"{name}@clients") for name in programs)
    return named or claims.get("gty") == "client-credentials" or claims.get("idtyp") == "app"


def _claimed_scopes(claims: Mapping[str, Any], issuer: Issuer) -> frozenset[str]:
    """The scopes that the token itself lists; all that the issuer gives where its tokens need not list them."""
    if issuer.scope_claim is None:
        return frozenset(issuer.scopes)
    listed = claims.get(issuer.scope_claim)
    names = listed.split(" ") if isinstance(listed, str) else listed if isinstance(listed, list) else []
    return frozenset(name for name in names if isinstance(name, str))
