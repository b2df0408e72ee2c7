"""authlib's authorization server on Starlette. The endpoint reads the form first; the grant runs in a thread."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import orjson
from authlib.oauth2.rfc6749 import AuthorizationServer
from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error, UnsupportedGrantTypeError
from starlette.responses import Response

from api.oauth.authorizing.families import Families
from api.oauth.authorizing.grants import CodeGrant, Pkce, RefreshGrant, RequestRules
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
from api.oauth.clients.assertions import LEEWAY, BadAssertion, check_assertion, recognized
from api.oauth.clients.client_keys import RememberedKeys
from api.oauth.clients.clients import RegisteredClient
from api.oauth.clients.credentials import BadClient, Credentials, read_credentials
from api.oauth.clients.registration import CLIENT_ID
from api.oauth.clients.secrets import SecretChecker
from api.oauth.grant_types import GRANTS
from api.oauth.grants import ClientCredentials, TokenExchange
from api.oauth.issuer import audience_of
from api.oauth.parsed_request import KNOWN_SCOPES, ParsedRequest, check_scope
from api.oauth.token_endpoints import Introspection, Revocation
from api.oauth.tokens.id_tokens import IdTokens
from api.oauth.tokens.issuing import AccessTokens
from api.oauth.tokens.opening import read_access_token
from api.oauth.tokens.signing_keys import SigningKeys
from core import clock
from core.settings import Tokens
from db.assertions import use_assertion
from db.authorizations import sha256
from db.clients import Client, find_client
from db.revocations import is_refused, revoke_token
from engine.scopes import SCOPES

Endpoint = Literal["token", "revocation", "introspection"]


class TokenServer(AuthorizationServer):  # type: ignore[misc]
    """Answers authorization and token requests. Its tokens are for `audience`. It blocks: run it in a thread."""

    def __init__(self, issuer: str, keys: SigningKeys, lifetimes: Tokens, pool: BlockingPool) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        logging.getLogger("authlib").setLevel(logging.WARNING)  # at DEBUG it would log the tokens themselves
        self.audience = audience_of(issuer)
        self.issuer = issuer
        self._audiences = frozenset({issuer, f"{issuer}/oauth/token"})
        self._pool = pool
        self._secrets = SecretChecker()
        self._client_keys = RememberedKeys()
        self.families = Families(pool, lifetimes)
        self.id_tokens = IdTokens(issuer, keys)
        self._keys = keys
        self._tokens = AccessTokens(issuer, self.audience, keys, lifetimes)
        self.register_token_generator("default", self._tokens)
        self.register_grant(ClientCredentials)
        self.register_grant(TokenExchange)
        self.register_grant(CodeGrant, [RequestRules(), Pkce()])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

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
        hint = self.id_tokens.read_hint(given["id_token_hint"]) if "id_token_hint" in given else None
        return authorization_request(grant.request, redirect_uri, None if hint is None else hint.user_id)

    def approve(
        self,
        request: AuthorizationRequest,
        user_id: str,
        auth_time: datetime,
        scopes: tuple[str, ...],
        session: bytes | None = None,
    ) -> str:
        """Store a code for what the user approved. Returns where to send the browser. Raises StoreUnavailable.

        `auth_time` is when the user gave their password. `scopes` are some or all of those that the client asked for.
        When `session`, the hash of the user's session, has ended meanwhile, the client gets `login_required`.
        """
        if not set(scopes) <= set(request.scopes) or not scopes:
            raise ValueError("the client did not ask for these scopes")
        code = self.families.approve(approval_of(request, user_id, auth_time, scopes, session))
        if code is None:
            return self.refuse_authorization(request, "login_required")
        return location_of(request.redirect_uri, code=code, state=request.state, iss=self.issuer)

    def refuse_authorization(self, request: AuthorizationRequest, error: str) -> str:
        """Where to send the browser with an error, such as access_denied, login_required or consent_required."""
        return location_of(request.redirect_uri, error=error, state=request.state, iss=self.issuer)

    def answer(self, endpoint: Endpoint, form: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """The response of an endpoint to a form. Raises StoreUnavailable when the client cannot be looked up."""
        request = ParsedRequest("POST", form, headers)
        try:
            if endpoint == "token":
                return self._grant(request)
            return self.handle_response(*self._endpoints[endpoint][0].create_endpoint_response(request))
        except OAuth2Error as error:
            return self.refuse(error)

    def refuse(self, error: OAuth2Error) -> Response:
        """The response to a request that failed with this error (RFC 6749, section 5.2)."""
        status, body, headers = error()
        described = {"error_description": description} if (description := describe(error)) else {}
        return self.handle_response(status, dict(body) | described, headers)

    def _grant(self, request: ParsedRequest) -> Response:
        grant = self.get_token_grant(request)
        grant.validate_token_request()
        return self.handle_response(*grant.create_token_response())

    def authenticate_client(
        self, request: ParsedRequest, methods: list[str], endpoint: str = "token"
    ) -> RegisteredClient:
        """The client that the request proves to come from. Raises BadClient, InvalidRequestError."""
        credentials = read_credentials(request.headers, request.payload.data)
        record = self._authenticated(credentials)
        if record is None or credentials.method not in methods:
            raise BadClient()
        request.auth_method = credentials.method
        return RegisteredClient(record)

    def remembers(self, credentials: Credentials) -> bool:
        """Whether these credentials were right when they were checked last. Does not block.

        An assertion is new each time: it counts when it is valid, signed by a key that was the client's at its last
        right one, and was not used in this process.
        """
        if credentials.assertion:
            return self._recognizes(credentials.client_id, credentials.assertion)
        return any(self._secrets.remembers(credentials.client_id, secret) for secret in credentials.secrets)

    def _recognizes(self, client_id: str, assertion: str) -> bool:
        keys = self._client_keys.of(client_id)
        found = recognized(assertion, client_id, keys, self._audiences, clock.now().timestamp()) if keys else None
        return found is not None and not self._client_keys.was_used(client_id, found.jti)

    def knows(self, credentials: Credentials) -> bool:
        """Whether these credentials are right. Raises StoreUnavailable."""
        return self._authenticated(credentials) is not None

    def validate_requested_scope(self, scope: str | None) -> None:
        """Raise InvalidScopeError for a malformed list and for a scope that does not exist."""
        if scope is not None:
            check_scope(scope, KNOWN_SCOPES)

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

    def _use_assertion(self, client: Client, text: str) -> bool:
        now = clock.now().timestamp()
        try:
            assertion = check_assertion(text, client, self._audiences, now)
        except BadAssertion:
            return False
        id_hash, life = sha256(assertion.jti), timedelta(seconds=assertion.expires_at - now + LEEWAY)
        used = self._pool.write(lambda connection: use_assertion(connection, client.id, id_hash, life))
        if used and client.jwks is not None:
            self._client_keys.remember(client.id, client.jwks, assertion.jti)
        return used

    def _location(self, error: OAuth2Error, state: str | None) -> str:
        return location_of(
            error.redirect_uri, error=error.error, error_description=describe(error), state=state, iss=self.issuer
        )

    def read_access_token(self, text: str) -> dict[str, Any] | None:
        """The claims of a valid access token of this issuer; None for any other text. Raises StoreUnavailable."""
        claims = read_access_token(text, self._keys, self.issuer, self.audience)
        if claims is None:
            return None
        token = claims["jti"], claims.get("sid"), claims["client_id"], claims.get("iat", 0)
        if self._pool.read(lambda connection: is_refused(connection, *token)):
            return None
        return claims

    def revoke_access_token(self, jti: str, client_id: str, family_id: str | None, life: timedelta) -> bool:
        """Refuse an access token for the rest of its life. Raises StoreUnavailable.

        When too many are refused, its family ends in its place; without one it is False.
        """
        if self._pool.read(lambda connection: revoke_token(connection, jti, client_id, family_id, life)):
            return True
        if family_id is None:
            return False
        self.families.revoke(family_id)
        return True

    def access_ttl(self, client: RegisteredClient, grant_type: str) -> int:
        """Seconds that an access token of this client and grant is valid."""
        return self._tokens.lifetime(client, grant_type)

    def _authenticated(self, credentials: Credentials) -> Client | None:
        """The client with this id and secret, or whose key signed the assertion, which is used up by that."""
        record = self._find(credentials.client_id)
        if credentials.method == "none":
            return record if record is not None and record.public else None
        if credentials.method == "private_key_jwt":
            self._client_keys.forget_unless(credentials.client_id, None if record is None else record.jwks)
            return record if record is not None and self._use_assertion(record, credentials.assertion) else None
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
    if grant_type not in GRANTS.values():
        raise UnsupportedGrantTypeError(grant_type)


def _refuse_repeated(repeated: Collection[str], grant: CodeGrant, redirect_uri: str) -> None:
    if repeated:
        raise InvalidRequestError("A parameter is repeated.")
