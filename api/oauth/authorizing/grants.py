"""Authorization codes (RFC 6749, section 4.1), with PKCE by S256 for every client (RFC 7636), and refresh tokens."""

import hmac
import re
from typing import Any

from authlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, BaseGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge

from api.oauth.authorizing.families import Held
from api.oauth.authorizing.requests import check_parameters
from api.oauth.clients.clients import RegisteredClient
from api.oauth.clients.credentials import METHODS_OF_ALL
from api.oauth.grant_types import AUTHORIZATION_CODE
from api.oauth.parsed_request import ParsedRequest, check_scope, check_target
from api.oauth.tokens.claims import SignedIn
from db.authorizations import Family
from engine.scopes import PEOPLE, PROTOCOL, default_for_people, read_scopes

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class FamilyGrant(BaseGrant):  # type: ignore[misc]  # authlib ships no types
    """What the grants share whose tokens are of a family."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS_OF_ALL

    def may_use(self, family: Family | None) -> bool:
        """Whether the family is of the client that asks."""
        return family is not None and family.client_id == self.request.client.record.id

    def user_of(self, family: Family) -> SignedIn:
        """The user who approved the family."""
        return SignedIn(family.user_id or "", family.auth_time, family.id)

    def scope_of(self, family: Family) -> str:
        """What the person approved and the client still has. Raises InvalidGrantError when that is nothing."""
        left = [scope for scope in family.scopes if scope in self.request.client.record.scopes]
        if not left:
            raise InvalidGrantError("The client has lost the scopes that the person approved.")
        return " ".join(left)

    def access_ttl(self) -> int:
        """Seconds that the access token is valid."""
        return int(self.server.access_ttl(self.request.client, self.GRANT_TYPE))

    def add_id_token(self, token: dict[str, Any], family: Family, nonce: str | None) -> None:
        """Add an ID token to the answer when the access token has the scope `openid`."""
        if "openid" in read_scopes(token["scope"]):
            user = self.user_of(family)
            token["id_token"] = self.server.id_tokens.issue(family.client_id, user, token["access_token"], nonce)


class CodeGrant(FamilyGrant, AuthorizationCodeGrant):  # type: ignore[misc]
    """A person lets a client act for them. The client changes the code for tokens, once.

    Nothing happens to a code that another client presents, or one with a wrong redirect URI or verifier: a stranger
    who saw the code cannot use it up. Presented again by its client with its verifier, it ends the family.
    """

    @classmethod
    def check_authorization_endpoint(cls, request: ParsedRequest) -> bool:
        """Take every request: one for another response type is refused where the redirect URI is known."""
        return True

    @staticmethod
    def validate_authorization_redirect_uri(request: ParsedRequest, client: RegisteredClient) -> str:
        """The redirect URI. Raises InvalidRequestError for one that is missing or not the client's.

        authlib's own repeats the URI in its error, and fails when that has characters that no error may have.
        """
        uri = request.payload.redirect_uri
        if not uri or not client.check_redirect_uri(uri):
            raise InvalidRequestError("redirect_uri must be one that the client registered.")
        return str(uri)

    def query_authorization_code(self, code: str, client: RegisteredClient) -> Held | None:
        """The family of a code, when it is the client's. Raises InvalidRequestError for missing parameters."""
        self.request.client = client
        for name in ("redirect_uri", "code_verifier"):
            if name not in self.request.form:
                raise InvalidRequestError(f"{name} is required.")
        check_target(self.request.form, self.server.audience)
        family = self.server.families.of_code(code)
        return Held(family) if self.may_use(family) else None

    def authenticate_user(self, held: Held) -> SignedIn:
        """The user who approved. Raises InvalidGrantError for a code that is not valid any more."""
        self.server.families.check_code(held.family)
        return self.user_of(held.family)

    def generate_token(self, user: SignedIn, scope: str, include_refresh_token: bool) -> dict[str, Any]:
        """The answer, with a refresh token for a client that has the grant for it. The code is used with that."""
        family = self.request.authorization_code.family
        token: dict[str, Any] = super().generate_token(user, self.scope_of(family), include_refresh_token=False)
        self.add_id_token(token, family, family.nonce)
        refresh = self.server.families.redeem(family, refreshable=include_refresh_token, access_ttl=self.access_ttl())
        return token if refresh is None else token | {"refresh_token": refresh}

    def delete_authorization_code(self, held: Held) -> None:
        """Do nothing: the code was used when the token was made."""


class RefreshGrant(FamilyGrant, RefreshTokenGrant):  # type: ignore[misc]
    """A client changes a refresh token for the next one and an access token, once.

    Presented a second time it ends the family, even when the answer to the first time was lost: only so can a stolen
    token be told from its owner's.
    """

    def authenticate_refresh_token(self, text: str) -> Held | None:
        """The family of a refresh token, when it is the client's. Raises InvalidGrantError for one that is used up."""
        self.validate_requested_scope()
        check_target(self.request.form, self.server.audience)
        family = self.server.families.of_refresh_token(text)
        if not self.may_use(family):
            return None
        self.server.families.check_refresh_token(family, text)
        return Held(family, text)

    def _validate_token_scope(self, held: Held) -> None:
        """Raise InvalidScopeError for a scope that the person did not approve. It is authlib's, which names none."""
        if scope := self.request.payload.scope:
            check_scope(scope, held.family.scopes)

    def authenticate_user(self, held: Held) -> SignedIn:
        """The user who approved."""
        return self.user_of(held.family)

    def issue_token(self, user: SignedIn, held: Held) -> dict[str, Any]:
        """The answer with the next refresh token, which has all scopes of the one before."""
        scope = self.request.payload.scope or self.scope_of(held.family)
        token: dict[str, Any] = self.generate_token(user, scope, include_refresh_token=False)
        self.add_id_token(token, held.family, None)
        next_one = self.server.families.rotate(held.family, held.token, access_ttl=self.access_ttl())
        return token | {"refresh_token": next_one}

    def revoke_old_credential(self, held: Held) -> None:
        """Do nothing: the refresh token was used when the next one was made."""


class RequestRules:
    """authlib's extension: what a request must fulfil beyond RFC 6749. It is checked once the redirect URI is safe."""

    def __call__(self, grant: CodeGrant) -> None:
        """Add the rules to a grant."""
        grant.register_hook("before_validate_authorization_request_payload", self.check)
        grant.register_hook("after_validate_authorization_request_payload", self.choose_scopes)

    def check(self, grant: CodeGrant, redirect_uri: str) -> None:
        """Raise the OAuth2Error for what is wrong with the request."""
        parameters = grant.request.payload.data
        if not grant.request.client.check_grant_type(AUTHORIZATION_CODE):
            raise UnauthorizedClientError("The client is not authorized for the authorization code flow.")
        check_parameters(parameters)
        check_target(parameters, grant.server.audience)

    def choose_scopes(self, grant: CodeGrant, result: object) -> None:
        """Set the scopes: those requested, or the client's defaults. Raises InvalidScopeError."""
        request = grant.request
        asked = request.payload.scope
        if asked:
            check_scope(asked, PEOPLE | PROTOCOL.keys())
        scopes = read_scopes(asked) if asked else default_for_people(request.client.record.scopes)
        if not scopes:
            raise InvalidScopeError("The client has no scopes that a person's token gets without being named.")
        request.scope = " ".join(scopes)


class Pkce(CodeChallenge):  # type: ignore[misc]
    """PKCE by S256, required of every client. authlib's own allows `plain` and asks only public clients for it."""

    def validate_code_challenge(self, grant: CodeGrant, result: object) -> None:
        """Raise InvalidRequestError without an S256 challenge."""
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(data.get("code_challenge", "")):
            raise InvalidRequestError("PKCE is required: code_challenge, with the code_challenge_method S256.")

    def validate_code_verifier(self, grant: CodeGrant, result: object) -> None:
        """Raise InvalidGrantError when the challenge was not made from the request's verifier."""
        verifier, challenge = grant.request.form["code_verifier"], grant.request.authorization_code.code_challenge
        made = create_s256_code_challenge(verifier) if _VERIFIER.fullmatch(verifier) else ""
        if not hmac.compare_digest(made, challenge):
            raise InvalidGrantError("code_verifier does not fit.")
