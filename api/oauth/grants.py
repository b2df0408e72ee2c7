"""The two grants: client credentials (RFC 6749, section 4.4) and token exchange for one person (RFC 8693)."""

from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, ClientCredentialsGrant, TokenEndpointMixin

from api.oauth.clients.credentials import METHODS_OF_ALL
from api.oauth.grant_types import ACCESS_TOKEN, ANONYMOUS_ID, TOKEN_EXCHANGE, USER_ID
from api.oauth.parsed_request import check_target
from core.contract import Person, check_id
from core.errors import InvalidInput
from core.texts import RESERVED
from engine.scopes import default_for_people


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    """A shop's server gets a token for itself."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS_OF_ALL

    def validate_token_request(self) -> None:
        """Authenticate the client, check grant, scope and audience."""
        super().validate_token_request()
        check_target(self.request.form, self.server.audience)


class TokenExchange(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """A shop's server gets a short-lived token of one person, for that person's browser or app."""

    GRANT_TYPE = TOKEN_EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS_OF_ALL

    def validate_token_request(self) -> None:
        """Authenticate the client, check grant, scope, audience and subject."""
        self.request.client = self.authenticate_token_endpoint_client()
        if not self.request.client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("The client is not authorized for token exchange.")
        self.validate_requested_scope()
        check_target(self.request.form, self.server.audience)
        self.request.user = read_subject(self.request.form)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """The answer of RFC 8693 section 2.2.1."""
        token = self.generate_token(user=self.request.user, scope=self._scope(), include_refresh_token=False)
        self.save_token(token)
        return 200, {**token, "issued_token_type": ACCESS_TOKEN}, self.TOKEN_RESPONSE_HEADER

    def _scope(self) -> str:
        """The requested scopes; without any, all that the client has for people and need not be named.

        Raises InvalidScopeError when there are none. `AccessTokens` refuses requested scopes that are not for people.
        """
        if requested := self.request.payload.scope:
            return str(requested)
        default = default_for_people(self.request.client.record.scopes)
        if not default:
            raise InvalidScopeError("The client has no scopes that a person's token gets without being named.")
        return " ".join(default)


def read_subject(data: dict[str, str]) -> Person:
    """The person that a token exchange names. Raises InvalidRequestError for wrong or missing parameters."""
    if "actor_token" in data or "actor_token_type" in data:
        raise InvalidRequestError("actor_token is not supported.")
    if data.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise InvalidRequestError("requested_token_type is not supported.")
    if "subject_token" not in data or "subject_token_type" not in data:
        raise InvalidRequestError("subject_token and subject_token_type are required.")
    kind = {USER_ID: "user", ANONYMOUS_ID: "guest"}.get(data["subject_token_type"])
    if kind is None:
        raise InvalidRequestError(f"subject_token_type must be {USER_ID} or {ANONYMOUS_ID}.")
    return _person(kind, data["subject_token"])


def _person(kind: str, text: str) -> Person:
    try:
        name = check_id(text, "subject_token")
    except InvalidInput:
        raise InvalidRequestError("subject_token must be 1 to 128 characters without control characters.") from None
    if kind == "guest":
        return Person("guest", name)
    if name.startswith(RESERVED):
        raise InvalidRequestError(f"A user id cannot begin with {RESERVED}.")
    return Person("user", name)
