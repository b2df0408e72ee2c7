"""The authorization code grant (RFC 6749, section 4.1) with PKCE by S256 for every client (RFC 7636)."""

import hmac
import re

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge

from api.oauth.authorizing.requests import check_parameters
from api.oauth.parsed_request import ParsedRequest, check_target
from engine.scopes import PEOPLE, PROTOCOL, default_for_people, read_scopes

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]  # authlib ships no types
    """A person lets a client act for them."""

    @classmethod
    def check_authorization_endpoint(cls, request: ParsedRequest) -> bool:
        """Take every request: one for another response type is refused where the redirect URI is known."""
        return True


class RequestRules:
    """authlib's extension: what a request must fulfil beyond RFC 6749. It is checked once the redirect URI is safe."""

    def __call__(self, grant: CodeGrant) -> None:
        """Add the rules to a grant."""
        grant.register_hook("before_validate_authorization_request_payload", self.check)
        grant.register_hook("after_validate_authorization_request_payload", self.choose_scopes)

    def check(self, grant: CodeGrant, redirect_uri: str) -> None:
        """Raise the OAuth2Error for what is wrong with the request."""
        parameters = grant.request.payload.data
        check_parameters(parameters)
        check_target(parameters, grant.server.audience)

    def choose_scopes(self, grant: CodeGrant, result: object) -> None:
        """Set the scopes: those requested, or the client's defaults. Raises InvalidScopeError."""
        request = grant.request
        asked = request.payload.scope
        scopes = read_scopes(asked) if asked else default_for_people(request.client.record.scopes)
        if not scopes or not set(scopes) <= PEOPLE | PROTOCOL.keys():
            raise InvalidScopeError("The client may ask these scopes of nobody.")
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
