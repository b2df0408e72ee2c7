"""ID tokens (OpenID Connect): they tell a client who signed in. No endpoint of ours accepts one as an access token."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc import jwt

from api.oauth.tokens.claims import SignedIn
from api.oauth.tokens.opening import open_token
from api.oauth.tokens.signing_keys import ALGORITHM, SigningKeys
from core import clock

TYPE = "JWT"
TTL = timedelta(minutes=10)  # a client reads it once, at the sign-in


@dataclass(frozen=True, slots=True)
class IdTokenHint:
    """What an ID token of ours says, which a client sends back as a hint."""

    client_id: str
    user_id: str
    family: str


class IdTokens:
    """Issues ID tokens of one issuer, and reads them when they come back as hints."""

    def __init__(self, issuer: str, keys: SigningKeys) -> None:
        self._issuer = issuer
        self._keys = keys

    def issue(self, client_id: str, user: SignedIn, access_token: str, nonce: str | None) -> str:
        """An ID token for the client, issued with this access token. A refreshed one has no nonce."""
        key, now = self._keys.signing, int(clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": user.user_id,
            "aud": client_id,
            "iat": now,
            "exp": now + int(TTL.total_seconds()),
            "auth_time": int(user.auth_time.timestamp()),
            "at_hash": _half_hash(access_token),
            "sid": user.family,
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])

    def read_hint(self, token: str) -> IdTokenHint | None:
        """What an ID token of ours says, expired or not (OpenID Connect allows both for hints); None for other texts.

        A hint proves nothing about who sent it.
        """
        try:
            claims, _ = open_token(token, TYPE, self._keys)
            hint = IdTokenHint(claims["aud"], claims["sub"], claims["sid"])
        except (ValueError, KeyError, TypeError):
            return None
        return hint if claims.get("iss") == self._issuer else None


def _half_hash(access_token: str) -> str:
    """`at_hash` for RS256: the left half of the SHA-256 of the token (OpenID Connect Core, section 3.1.3.6)."""
    half = hashlib.sha256(access_token.encode("ascii")).digest()[:16]
    return urlsafe_b64encode(half).rstrip(b"=").decode("ascii")
