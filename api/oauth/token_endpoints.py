"""Revocation (RFC 7009) and introspection (RFC 7662), each for the tokens of the client that asks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from api.oauth.clients.clients import RegisteredClient
from api.oauth.clients.credentials import METHODS, METHODS_OF_ALL
from api.oauth.parsed_request import ParsedRequest
from core import clock
from db.authorizations import Family
from engine.scopes import read_scopes


class TooManyRevocations(OAuth2Error):  # type: ignore[misc]  # authlib ships no types
    """So many tokens of the client are revoked already that no more are remembered until some expire."""

    error = "temporarily_unavailable"
    description = "Too many tokens of this client are revoked. Try again later, or let it expire."
    status_code = 503

    def get_headers(self) -> list[tuple[str, str]]:
        """The headers, with the time after which to try again."""
        return [*super().get_headers(), ("Retry-After", "60")]


@dataclass(frozen=True, slots=True)
class OwnAccessToken:
    """The claims of a valid access token of the client."""

    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OwnRefreshToken:
    """The family of a refresh token of the client."""

    family: Family


OwnToken = OwnAccessToken | OwnRefreshToken


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """A client gives a token back. An access token ends alone; a refresh token, used or not, ends its family.

    So does an access token when many of its person, or of its client, are revoked already.

    For a token that is unknown, expired or another client's, the answer is the same and nothing happens.
    """

    CLIENT_AUTH_METHODS = METHODS_OF_ALL

    def authenticate_token(self, request: ParsedRequest, client: RegisteredClient) -> OwnToken | None:
        """The token, if it is the client's. Raises InvalidRequestError without one."""
        return own_token(self.server, request, client, self.server.families.of_refresh_token)

    def revoke_token(self, token: OwnToken, request: ParsedRequest) -> None:
        """Refuse the token from now on. Raises TooManyRevocations."""
        if isinstance(token, OwnRefreshToken):
            self.server.families.revoke(token.family.id)
            return
        claims = token.claims
        life = timedelta(seconds=claims["exp"] - clock.now().timestamp())
        if not self.server.revoke_access_token(claims["jti"], claims["client_id"], claims.get("sid"), life):
            raise TooManyRevocations()


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """A client asks what a token of its own still allows. Public clients cannot ask."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, request: ParsedRequest, client: RegisteredClient) -> OwnToken | None:
        """The token, if it is the client's. Raises InvalidRequestError without one."""
        return own_token(self.server, request, client, self.server.families.of_valid_refresh_token)

    def create_introspection_payload(self, token: OwnToken | None) -> dict[str, Any]:
        """What the token says, or that it is not active."""
        if token is None:
            return {"active": False}
        if isinstance(token, OwnAccessToken):
            return {"active": True, "token_type": "Bearer", **token.claims}
        family = token.family
        return {
            "active": True,
            "iss": self.server.issuer,
            "client_id": family.client_id,
            "sub": family.user_id,
            "scope": " ".join(family.scopes),
            "iat": _seconds(family.refresh_issued_at),
            "exp": _seconds(family.refresh_ends_at),
            "auth_time": _seconds(family.auth_time),
            "sid": family.id,
        }


def own_token(
    server: Any,
    request: ParsedRequest,
    client: RegisteredClient,
    family_of: Callable[[str], Family | None],
) -> OwnToken | None:
    """The token in the request, if it was issued to this client. Raises InvalidRequestError without one.

    `family_of` finds the family of a refresh token. `token_type_hint` is not needed: an access token is a JWT, and a
    refresh token is not.
    """
    text = request.form.get("token")
    if text is None:
        raise InvalidRequestError("token is required.")
    claims = server.read_access_token(text)
    if claims is not None:
        if claims["client_id"] != client.record.id:
            return None
        kept = " ".join(scope for scope in read_scopes(claims["scope"]) if scope in client.record.scopes)
        return OwnAccessToken(claims | {"scope": kept})
    family = family_of(text)
    return OwnRefreshToken(family) if family is not None and family.client_id == client.record.id else None


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
