"""A shop's identity provider: a real authorization server of authlib, in Flask, on loopback.

It signs people in (authorization code with PKCE, ID tokens), gives programs their own tokens, publishes its metadata
and its keys, and changes its keys.
"""

import base64
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import AuthorizationCodeMixin
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, Response, jsonify, request
from joserfc import jws
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from core import clock

AUDIENCE = "https://api.shop.example"
APP, ROBOT, ROBOT_SECRET, BACK = "app", "robot", "a-secret-of-the-robot", "com.shop.app:/back"
RSA_BITS = 2048
LIFE = 900  # seconds of an access token
TIMEOUT = 60.0  # seconds


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Write no log."""


@dataclass(frozen=True)
class _User:
    id: str

    def get_user_id(self) -> str:
        return self.id


@dataclass(frozen=True)
class _Client(ClientMixin):  # type: ignore[misc]  # authlib ships no types
    id: str

    def get_client_id(self) -> str:
        return self.id

    def get_default_redirect_uri(self) -> str:
        return BACK

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return self.id == APP and redirect_uri == BACK

    def check_client_secret(self, client_secret: str) -> bool:
        return self.id == ROBOT and client_secret == ROBOT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == ("none" if self.id == APP else "client_secret_basic")

    def check_response_type(self, response_type: str) -> bool:
        return self.id == APP and response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == ("authorization_code" if self.id == APP else "client_credentials")


@dataclass(frozen=True)
class _Code(AuthorizationCodeMixin):  # type: ignore[misc]
    code: str
    user: _User
    scope: str
    redirect_uri: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> None:
        return None

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class IdentityProvider:
    """The provider at `url`. The first of its `keys` signs; `keys_read` counts how often they were fetched."""

    def __init__(self) -> None:
        self.keys: list[Key] = [_first_key()]
        self.keys_read = 0
        self.cache_control: str | None = None
        self.extra_claims: dict[str, Any] = {}
        self.audience: str | list[str] = AUDIENCE
        self._codes: dict[str, _Code] = {}
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.app = self._make_app()

    @property
    def url(self) -> str:
        """Its issuer."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer; on the same port as before."""
        self._server = make_server("127.0.0.1", self.port, self.app, threaded=True, request_handler=_Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def jwks(self) -> dict[str, Any]:
        """Its public keys."""
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def signed_in(self, user: str, scope: str = "openid recommendations:read") -> dict[str, Any]:
        """The token answer for a person, by the whole authorization code flow over HTTP."""
        verifier = secrets.token_urlsafe(48)
        asked = {
            "response_type": "code",
            "client_id": APP,
            "redirect_uri": BACK,
            "scope": scope,
            "nonce": secrets.token_hex(8),
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        sent_back = httpx.get(f"{self.url}/authorize", params={**asked, "user": user}, timeout=TIMEOUT).headers[
            "location"
        ]
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(sent_back).query)["code"][0],
            "redirect_uri": BACK,
            "client_id": APP,
            "code_verifier": verifier,
        }
        answer = httpx.post(f"{self.url}/token", data=form, timeout=TIMEOUT)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def token_of(self, user: str) -> str:
        """An access token of a person."""
        return str(self.signed_in(user)["access_token"])

    def robots_token(self) -> str:
        """An access token of a program for itself."""
        form = {"grant_type": "client_credentials", "scope": "recommendations:read"}
        answer = httpx.post(f"{self.url}/token", data=form, auth=(ROBOT, ROBOT_SECRET), timeout=TIMEOUT)
        return str(answer.json()["access_token"])

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a right access token; None leaves a claim out."""
        now = int(clock.now().timestamp())
        right = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "u1",
            "client_id": APP,
            "scope": "recommendations:read",
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + LIFE,
        }
        return {name: value for name, value in (right | changed).items() if value is not None}

    def forged(self, claims: object = None, key: Key | None = None, **header: object) -> str:
        """A token signed by hand, so that no library checks it. None leaves a header out."""
        signing = key or self.keys[0]
        sign_with = header.pop("sign_with", algorithm_of(signing))
        full = {"alg": algorithm_of(signing), "typ": "at+jwt", "kid": self.keys[0].kid} | header
        text = f"{b64({k: v for k, v in full.items() if v is not None})}.{b64(claims or self.claims())}"
        signer = jws.JWSRegistry.algorithms[str(sign_with)]
        return f"{text}.{b64(signer.sign(text.encode(), signing))}"

    def _make_app(self) -> Flask:
        app = Flask("identity-provider")
        server = AuthorizationServer(app, {APP: _Client(APP), ROBOT: _Client(ROBOT)}.get, lambda token, request: None)
        server.register_token_generator("default", _tokens_of(self))
        server.register_grant(_code_grant_of(self._codes), [_id_tokens_of(self), CodeChallenge(required=True)])
        server.register_grant(ClientCredentialsGrant)
        app.add_url_rule("/authorize", view_func=lambda: _authorize(server), endpoint="authorize")
        app.add_url_rule("/token", view_func=server.create_token_response, endpoint="token", methods=["POST"])
        app.add_url_rule("/.well-known/openid-configuration", view_func=self._metadata, endpoint="metadata")
        app.add_url_rule("/keys", view_func=self._answer_keys, endpoint="keys")
        return app

    def _metadata(self) -> Response:
        return jsonify(issuer=self.url, jwks_uri=f"{self.url}/keys", token_endpoint=f"{self.url}/token")

    def _answer_keys(self) -> Response:
        self.keys_read += 1
        answer = jsonify(self.jwks())
        if self.cache_control:
            answer.headers["cache-control"] = self.cache_control
        return answer


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """A provider that answers until the end of the block."""
    provider = IdentityProvider()
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()


def new_key(kid: str, algorithm: str = "RS256") -> Key:
    """A new private key of that id."""
    parameters: Any = {"kid": kid, "use": "sig", "alg": algorithm}
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.generate_key(RSA_BITS, parameters)


@cache
def _first_key() -> Key:
    """The first key of every provider: to make one takes time."""
    return new_key("k1")


def algorithm_of(key: Key) -> str:
    """The name that joserfc has for a key's algorithm."""
    named = str(key.as_dict(private=False).get("alg", "RS256"))
    return {"EdDSA": "Ed25519"}.get(named, named)


def b64(value: object) -> str:
    """A value as a part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _authorize(server: Any) -> Any:
    """Sign in whoever the parameter `user` names, without a question."""
    user = _User(request.args["user"])
    return server.create_authorization_response(grant_user=user, grant=server.get_consent_grant(end_user=user))


def _tokens_of(provider: IdentityProvider) -> Callable[..., dict[str, Any]]:
    class Tokens(JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return KeySet(provider.keys[:1])

        def get_audiences(self, client: Any, user: Any, scope: str) -> str | list[str]:
            return provider.audience

        def get_extra_claims(self, client: Any, grant_type: str, user: Any, scope: str) -> dict[str, Any]:
            return provider.extra_claims

        def access_token_generator(self, **arguments: Any) -> str:
            self.issuer = provider.url
            return str(super().access_token_generator(**arguments))

    return Tokens("", expires_generator=lambda client, grant_type: LIFE)


def _code_grant_of(codes: dict[str, _Code]) -> type[AuthorizationCodeGrant]:
    class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            codes[code] = _Code(
                code,
                request.user,
                data["scope"],
                data["redirect_uri"],
                data.get("nonce"),
                data["code_challenge"],
                data["code_challenge_method"],
            )

        def query_authorization_code(self, code: str, client: Any) -> _Code | None:
            return codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del codes[authorization_code.code]

        def authenticate_user(self, authorization_code: _Code) -> _User:
            return authorization_code.user

    return CodeGrant


def _id_tokens_of(provider: IdentityProvider) -> OpenIDCode:
    class IdTokens(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def resolve_client_private_key(self, client: Any) -> KeySet:
            return KeySet(provider.keys[:1])

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            return {"iss": provider.url}

        def generate_user_info(self, user: _User, scope: str) -> dict[str, Any]:
            return {"sub": user.id}

    return IdTokens()
