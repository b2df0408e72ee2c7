"""Opens a token of ours: its header, its signature, its claims."""

from typing import Any

from api.oauth.jose.compact import is_signed_by, read_signed
from api.oauth.tokens.claims import person_of
from api.oauth.tokens.issuing import TYPE
from api.oauth.tokens.signing_keys import ALGORITHM, VERIFY_FOR, SigningKeys
from core import clock
from core.errors import InvalidInput
from engine.scopes import read_scopes

CLOCK_SKEW = 5.0  # seconds that the clock of another gateway may be ahead


def open_token(token: str, type: str, keys: SigningKeys) -> tuple[dict[str, Any], str]:
    """Claims and key id of a token of this type with our header and signature. Raises ValueError or TypeError."""
    signed = read_signed(token)
    header = signed.header
    if header.keys() != {"alg", "typ", "kid"} or (header["alg"], header["typ"]) != (ALGORITHM, type):
        raise ValueError("the header must be alg, typ and kid, with our algorithm and this type")
    key = keys.verifying(header["kid"])
    if key is None or not is_signed_by(signed, key, ALGORITHM):
        raise ValueError("not signed by one of our keys")
    return signed.claims, header["kid"]


def open_access_token(token: str, keys: SigningKeys, issuer: str, audience: str) -> tuple[dict[str, Any], str]:
    """Claims and key id of an access token of this issuer for this audience, expired or not.

    Raises ValueError, KeyError or TypeError for any other text.
    """
    claims, kid = open_token(token, TYPE, keys)
    texts = [*(claims[name] for name in ("sub", "client_id", "scope", "jti")), claims.get("sid", "")]
    if claims["iss"] != issuer or claims["aud"] != audience or type(claims["exp"]) is not int:
        raise ValueError("another issuer or audience, or exp is not an integer")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("sub, client_id, scope, jti and sid must be strings")
    _check_times(claims)
    return claims, kid


def _check_times(claims: dict[str, Any]) -> None:
    """Refuse a token from the future, and one that lives longer than any of ours."""
    latest = clock.now().timestamp() + CLOCK_SKEW
    if not all(type(claims.get(name, 0)) is int and claims.get(name, 0) <= latest for name in ("iat", "nbf")):
        raise ValueError("iat and nbf must be integers, and not in the future")
    if claims["exp"] > latest + VERIFY_FOR.total_seconds():
        raise ValueError("exp is later than that of any token of ours")


def read_access_token(token: str, keys: SigningKeys, issuer: str, audience: str) -> dict[str, Any] | None:
    """The claims of an access token that has not expired; None for any other text. It may have been revoked."""
    try:
        claims, _ = open_access_token(token, keys, issuer, audience)
        read_scopes(claims["scope"])
        person_of(claims)
    except (InvalidInput, ValueError, KeyError, TypeError):
        return None
    return claims if claims["exp"] > clock.now().timestamp() else None
