"""Access tokens: JWTs of RFC 9068, signed with RS256."""

from secrets import token_urlsafe
from typing import Any

from authlib.oauth2.rfc6750 import BearerTokenGenerator
from joserfc import jwt

from api.oauth.clients.clients import RegisteredClient
from api.oauth.grant_types import CLIENT_CREDENTIALS
from api.oauth.parsed_request import check_scope
from api.oauth.tokens.claims import SignedIn, subject_claims
from api.oauth.tokens.signing_keys import ALGORITHM, SigningKeys
from core import clock
from core.contract import Person
from core.settings import Tokens
from engine.scopes import PEOPLE, PROTOCOL

TYPE = "at+jwt"


class AccessTokens(BearerTokenGenerator):  # type: ignore[misc]  # authlib ships no types
    """Issues access tokens. authlib's own generator would put the client into `aud` and read the clock itself."""

    def __init__(self, issuer: str, audience: str, keys: SigningKeys, lifetimes: Tokens) -> None:
        super().__init__(self._access_token, expires_generator=self.lifetime)
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._lifetimes = lifetimes

    def lifetime(self, client: RegisteredClient, grant_type: str) -> int:
        """Seconds. A client's own lifetime can shorten the tokens of persons, but not lengthen them."""
        own = client.record.access_ttl
        if grant_type == CLIENT_CREDENTIALS:
            return own or self._lifetimes.client_ttl
        return min(own or self._lifetimes.person_ttl, self._lifetimes.person_ttl)

    def _access_token(
        self, client: RegisteredClient, grant_type: str, user: Person | SignedIn | None, scope: str
    ) -> str:
        if user is not None:
            check_scope(scope, PEOPLE | PROTOCOL.keys())
        key, now = self._keys.signing, int(clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            **subject_claims(user, client.record.id),
            "client_id": client.record.id,
            "scope": scope,
            "jti": token_urlsafe(16),
            "iat": now,
            "exp": now + self.lifetime(client, grant_type),
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])
