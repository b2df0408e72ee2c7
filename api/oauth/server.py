"""authlib's authorization server on Starlette. The endpoint reads the form first; the grant runs in a thread."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from secrets import token_urlsafe
from typing import Any

import orjson
from authlib.oauth2.rfc6749 import AuthorizationServer
from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, OAuth2Error, UnsupportedGrantTypeError
from starlette.responses import Response

from api.oauth.authorizing.code_grant import CodeGrant, Pkce, RequestRules
from api.oauth.authorizing.requests import (
    AuthorizationRequest,
    RefusedAuthorization,
    UnsafeRedirect,
    approval_of,
    authorization_request,
    describe,
    echoed_state,
    location_of,
)
from api.oauth.blocking_pool import BlockingPool
from api.oauth.clients.clients import RegisteredClient
from api.oauth.clients.credentials import BadClient, Credentials, read_credentials
from api.oauth.clients.registration import CLIENT_ID
from api.oauth.clients.secrets import SecretChecker
from api.oauth.grant_types import ISSUED
from api.oauth.grants import ClientCredentials, TokenExchange
from api.oauth.issuer import audience_of
from api.oauth.parsed_request import ParsedRequest
from api.oauth.tokens.issuing import AccessTokens
from core.errors import InvalidInput
from db.authorizations import sha256, store_code
from db.clients import Client, find_client
from engine.scopes import PROTOCOL, RETIRED, SCOPES, read_scopes

CODE_TTL = timedelta(seconds=60)


class TokenServer(AuthorizationServer):  # type: ignore[misc]
    """Answers authorization and token requests. Its tokens are for `audience`. It blocks: run it in a thread."""

    def __init__(self, issuer: str, tokens: AccessTokens, pool: BlockingPool) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.audience = audience_of(issuer)
        self._issuer = issuer
        self._pool = pool
        self._secrets = SecretChecker()
        self.register_token_generator("default", tokens)
        self.register_grant(ClientCredentials)
        self.register_grant(TokenExchange)
        self.register_grant(CodeGrant, [RequestRules(), Pkce()])

    def read_authorization(self, parameters: Mapping[str, str], repeated: Collection[str] = ()) -> AuthorizationRequest:
        """The request in the parameters of the authorization endpoint. `repeated` names those that came twice.

        Raises UnsafeRedirect when nobody may be sent to its redirect URI, RefusedAuthorization when it is wrong in
        another way, StoreUnavailable.
        """
        given = {name: value for name, value in parameters.items() if value}
        request = ParsedRequest("GET", given, {})
        if {"client_id", "redirect_uri"} & set(repeated):
            raise UnsafeRedirect("client_id and redirect_uri must be given once.")
        try:
            grant = self.get_authorization_grant(request)
            grant.register_hook("before_validate_authorization_request_payload", partial(_refuse_repeated, repeated))
            redirect_uri = grant.validate_consent_request()
        except OAuth2Error as error:
            if not error.redirect_uri:
                raise UnsafeRedirect(describe(error)) from error
            raise RefusedAuthorization(error.error, self._location(error, echoed_state(given, repeated))) from error
        return authorization_request(grant.request, redirect_uri)

    def approve(self, request: AuthorizationRequest, user_id: str, auth_time: datetime, scopes: tuple[str, ...]) -> str:
        """Store a code for what the user approved. Returns where to send the browser. Raises StoreUnavailable.

        `auth_time` is when the user gave their password. `scopes` are some or all of those that the client asked for.
        """
        if not set(scopes) <= set(request.scopes) or not scopes:
            raise ValueError("the client did not ask for these scopes")
        code, approval = token_urlsafe(32), approval_of(request, user_id, auth_time, scopes)
        self._pool.write(lambda connection: store_code(connection, token_urlsafe(16), approval, sha256(code), CODE_TTL))
        return location_of(request.redirect_uri, code=code, state=request.state, iss=self._issuer)

    def refuse_authorization(self, request: AuthorizationRequest, error: str) -> str:
        """Where to send the browser with an error, such as access_denied, login_required or consent_required."""
        return location_of(request.redirect_uri, error=error, state=request.state, iss=self._issuer)

    def answer(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """The response to a token request. Raises StoreUnavailable when the client cannot be looked up."""
        request = ParsedRequest("POST", form, headers)
        try:
            return self._grant(request)
        except OAuth2Error as error:
            return self.refuse(error)

    def refuse(self, error: OAuth2Error) -> Response:
        """The response to a request that failed with this error (RFC 6749, section 5.2)."""
        return self.handle_response(*error())

    def _grant(self, request: ParsedRequest) -> Response:
        grant = self.get_token_grant(request)
        grant.validate_token_request()
        return self.handle_response(*grant.create_token_response())

    def authenticate_client(
        self, request: ParsedRequest, methods: list[str], endpoint: str = "token"
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
            known = scope is None or set(read_scopes(scope)) <= SCOPES.keys() | PROTOCOL.keys() | RETIRED
        except InvalidInput:
            known = False
        if not known:
            raise InvalidScopeError()

    def save_token(self, token: Mapping[str, Any], request: ParsedRequest) -> None:
        """Do nothing: an access token holds all its data itself."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing: authlib's signals have no receivers."""

    def handle_response(self, status: int, body: object, headers: list[tuple[str, str]]) -> Response:
        """The answer as JSON."""
        return Response(orjson.dumps(body), status, dict(headers))

    def query_client(self, client_id: str) -> RegisteredClient | None:
        """The enabled client of that id. Raises StoreUnavailable."""
        record = self._find(client_id) if CLIENT_ID.fullmatch(client_id) else None
        return None if record is None else RegisteredClient(record)

    def _find(self, client_id: str) -> Client | None:
        return self._pool.read(lambda connection: find_client(connection, client_id))

    def _location(self, error: OAuth2Error, state: str | None) -> str:
        return location_of(
            error.redirect_uri, error=error.error, error_description=describe(error), state=state, iss=self._issuer
        )

    def _authenticated(self, credentials: Credentials) -> Client | None:
        """The client with this id and secret."""
        record = self._find(credentials.client_id)
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


def _refuse_repeated(repeated: Collection[str], grant: CodeGrant, redirect_uri: str) -> None:
    if repeated:
        raise InvalidRequestError("A parameter is repeated.")
