"""authlib's authorization server on Starlette. The endpoint reads the form first; the grant runs in a thread."""

from collections.abc import Mapping
from typing import Any

import orjson
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, OAuth2Error, UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from starlette.responses import Response

from api.oauth.blocking_pool import BlockingPool
from api.oauth.clients.clients import RegisteredClient
from api.oauth.clients.credentials import BadClient, Credentials, read_credentials
from api.oauth.clients.secrets import SecretChecker
from api.oauth.grant_types import ISSUED
from api.oauth.grants import ClientCredentials, TokenExchange
from api.oauth.tokens.issuing import AccessTokens
from core.errors import InvalidInput
from db.clients import Client, find_client
from engine.scopes import RETIRED, SCOPES, read_scopes


class TokenRequest(OAuth2Request):  # type: ignore[misc]  # authlib ships no types
    """A token request whose form is read already."""

    def __init__(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        # authlib insists on https here. TLS ends at a proxy in front of the gateway, which this process cannot see.
        super().__init__("POST", "https://token.invalid/", headers=headers)
        self.payload = BasicOAuth2Payload(dict(form))


class TokenServer(AuthorizationServer):  # type: ignore[misc]
    """Answers token requests. All its tokens are for `audience`. It blocks: run it in a thread."""

    def __init__(self, audience: str, tokens: AccessTokens, pool: BlockingPool) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.audience = audience
        self._pool = pool
        self._secrets = SecretChecker()
        self.register_token_generator("default", tokens)
        self.register_grant(ClientCredentials)
        self.register_grant(TokenExchange)

    def answer(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """The response to a token request. Raises StoreUnavailable when the client cannot be looked up."""
        request = TokenRequest(form, headers)
        try:
            return self._grant(request)
        except OAuth2Error as error:
            return self.refuse(error)

    def refuse(self, error: OAuth2Error) -> Response:
        """The response to a request that failed with this error (RFC 6749, section 5.2)."""
        return self.handle_response(*error())

    def _grant(self, request: TokenRequest) -> Response:
        grant = self.get_token_grant(request)
        grant.validate_token_request()
        return self.handle_response(*grant.create_token_response())

    def authenticate_client(
        self, request: TokenRequest, methods: list[str], endpoint: str = "token"
    ) -> RegisteredClient:
        """The client whose secret the request carries. Raises BadClient, InvalidRequestError."""
        credentials = read_credentials(request.headers, request.payload.data)
        record = self._authenticated(credentials)
        if record is None or credentials.method not in methods:
            raise BadClient()
        request.auth_method = credentials.method
        return RegisteredClient(record)

    def remembers(self, credentials: Credentials) -> bool:
        """Whether these credentials were right when they were checked last. Does not block."""
        return any(self._secrets.remembers(credentials.client_id, secret) for secret in credentials.secrets)

    def knows(self, credentials: Credentials) -> bool:
        """Whether these credentials are right. Raises StoreUnavailable."""
        return self._authenticated(credentials) is not None

    def validate_requested_scope(self, scope: str | None) -> None:
        """Raise InvalidScopeError for a malformed list and for a scope that does not exist."""
        try:
            known = scope is None or set(read_scopes(scope)) <= SCOPES.keys() | RETIRED
        except InvalidInput:
            known = False
        if not known:
            raise InvalidScopeError()

    def save_token(self, token: Mapping[str, Any], request: TokenRequest) -> None:
        """Do nothing: an access token holds all its data itself."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing: authlib's signals have no receivers."""

    def handle_response(self, status: int, body: object, headers: list[tuple[str, str]]) -> Response:
        """The answer as JSON."""
        return Response(orjson.dumps(body), status, dict(headers))

    def _authenticated(self, credentials: Credentials) -> Client | None:
        """The client with this id and secret."""
        record = self._pool.read(lambda connection: find_client(connection, credentials.client_id))
        for secret in credentials.secrets:
            if self._secrets.check(record, secret):
                return record
            self._secrets.forget(credentials.client_id, secret)
        return None


def check_grant_type(form: Mapping[str, str]) -> None:
    """Raise InvalidRequestError without a grant type, UnsupportedGrantTypeError for one that is not issued here."""
    grant_type = form.get("grant_type")
    if not grant_type:
        raise InvalidRequestError("grant_type is required.")
    if grant_type not in ISSUED:
        raise UnsupportedGrantTypeError(grant_type)
