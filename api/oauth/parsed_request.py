"""A request as authlib wants it, whose parameters were read already, and the checks that all grants share."""

from collections.abc import Collection, Mapping
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidScopeError, OAuth2Error
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from core.errors import InvalidInput
from engine.scopes import PROTOCOL, RETIRED, SCOPES, read_scopes

KNOWN_SCOPES = frozenset(SCOPES | PROTOCOL) | RETIRED


class InvalidTarget(OAuth2Error):  # type: ignore[misc]  # authlib ships no types
    """The request names another audience or resource (RFC 8707)."""

    error = "invalid_target"
    description = "Tokens are for the GraphQL endpoint of this issuer only."


class ParsedRequest(OAuth2Request):  # type: ignore[misc]
    """A request whose parameters are `parameters`. It is GET for the authorization endpoint, else POST."""

    def __init__(self, method: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> None:
        # authlib insists on https here. TLS ends at a proxy in front of the gateway, which this process cannot see.
        super().__init__(method, "https://request.invalid/", headers=headers)
        self.payload = BasicOAuth2Payload(dict(parameters))

    @property
    def form(self) -> dict[str, Any]:
        """The parameters, under authlib's name for those of a POST."""
        return dict(self.payload.data)


def check_target(parameters: Mapping[str, str], audience: str) -> None:
    """Raise InvalidTarget when `resource` or `audience` is not our GraphQL endpoint."""
    if {parameters.get("resource", audience), parameters.get("audience", audience)} != {audience}:
        raise InvalidTarget()


def check_scope(asked: str, allowed: Collection[str]) -> None:
    """Raise InvalidScopeError for a malformed list, and for a scope that is not allowed.

    The error names one that exists. It repeats no other text of the request.
    """
    try:
        refused = [scope for scope in read_scopes(asked) if scope not in allowed]
    except InvalidInput:
        raise InvalidScopeError("Scopes are separated by one space, and none is repeated.") from None
    if refused:
        named = refused[0] in KNOWN_SCOPES
        raise InvalidScopeError(f"scope not allowed: {refused[0]}" if named else "unknown scope")
