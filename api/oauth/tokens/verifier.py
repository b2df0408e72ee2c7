"""Verifies access tokens. It trusts our own keys, one algorithm, one issuer and one audience, nothing else."""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from api.http.refresher import Refresher
from api.oauth.clients.activity import ClientActivity
from api.oauth.issuer import audience_of
from api.oauth.tokens.claims import person_of
from api.oauth.tokens.issuing import TYPE
from api.oauth.tokens.signing_keys import ALGORITHM, SigningKeys
from core import clock
from core.errors import InvalidInput, InvalidToken, Unanswerable
from db.clients import ChangedClient, list_changed
from db.postgres import Connection
from db.revocations import RefusedTokens, list_refused
from engine.scopes import PEOPLE, read_scopes
from engine.viewer import Viewer

POLL = 2.0  # seconds between reads of revocations and keys: a revocation counts after three at most
MAX_AGE = 300.0  # seconds to use the revocations read last while Postgres does not answer
MAX_LENGTH = 8192  # characters of a token
MAX_REMEMBERED = 10_000  # tokens
LONGEST_LIFE = timedelta(days=1, minutes=5)  # of an access token, and some time for clocks that differ
EXPIRED = "The access token has expired."
REVOKED = "The access token was revoked."
WITHDRAWN = "The key of the access token was withdrawn."
REASONS = {EXPIRED: "token_expired", REVOKED: "token_revoked", WITHDRAWN: "key_withdrawn"}  # in the audit trail


@dataclass(frozen=True, slots=True)
class _Checked:
    viewer: Viewer
    jti: str
    kid: str
    issued_at: int  # seconds


class Verifier:
    """Verifies tokens. It remembers valid ones by digest, so a process checks the signature of a token once."""

    def __init__(
        self,
        pool: Connection,
        keys: SigningKeys,
        issuer: str,
        activity: ClientActivity | None = None,
        *,
        poll: float = POLL,
        max_age: float = MAX_AGE,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._issuer = issuer
        self._activity = activity or ClientActivity()
        self._audience = audience_of(issuer)
        self._refused = RefusedTokens(frozenset(), frozenset())
        self._changed: dict[str, ChangedClient] = {}
        self._remembered: dict[bytes, _Checked] = {}
        self._max_age = max_age
        self._refresher = Refresher("revocations", self._read_revocations, every=poll)

    async def verify(self, token: str) -> Viewer:
        """The viewer a token names.

        Raises InvalidToken, and StoreUnavailable when revocations could not be read for five minutes.
        """
        if len(token) > MAX_LENGTH or not token.isascii():
            raise InvalidToken()
        await self.refresh()
        digest = hashlib.sha256(token.encode("ascii")).digest()
        checked = self._remembered.get(digest) or self._check(token)
        if (refusal := self._refusal(checked)) is not None:
            self._remembered.pop(digest, None)
            self._activity.note_refusal(checked.viewer.client_id, REASONS[refusal])
            raise InvalidToken(refusal)
        self._remember(digest, checked)
        self._activity.note_use(checked.viewer.client_id)
        return self._as_of_now(checked.viewer)

    async def refresh(self) -> None:
        """Read revocations and keys when the last read is two seconds old. Raises StoreUnavailable, see `verify`."""
        await self._refresher.refresh()
        if monotonic() - self._refresher.read_at > self._max_age:
            raise Unanswerable("postgres", "Tokens cannot be checked: revocations could not be read for minutes.")

    async def close(self) -> None:
        """Stop reading."""
        await self._refresher.close()

    async def _read_revocations(self) -> None:
        self._refused = await list_refused(self._pool)
        self._changed = await list_changed(self._pool, LONGEST_LIFE)
        await self._keys.refresh(self._pool)

    def _refusal(self, checked: _Checked) -> str | None:
        if checked.viewer.expires_at <= clock.now().timestamp():
            return EXPIRED
        if checked.jti in self._refused.tokens or checked.viewer.client_id in self._refused.clients:
            return REVOKED
        changed = self._changed.get(checked.viewer.client_id)
        if changed and changed.enabled_at and checked.issued_at < int(changed.enabled_at.timestamp()):
            return REVOKED
        return None if self._keys.verifying(checked.kid) else WITHDRAWN

    def _as_of_now(self, viewer: Viewer) -> Viewer:
        """The viewer without the scopes that its client lost since the token was issued."""
        changed = self._changed.get(viewer.client_id)
        return viewer if changed is None else replace(viewer, scopes=viewer.scopes & changed.scopes)

    def _check(self, token: str) -> _Checked:
        try:
            return self._read_claims(*_open(token, self._keys))
        except (JoseError, InvalidInput, ValueError, KeyError, TypeError) as error:
            raise InvalidToken() from error

    def _read_claims(self, claims: dict[str, Any], kid: str) -> _Checked:
        """Raises InvalidInput, ValueError, KeyError or TypeError for claims that our access tokens do not have.

        The scopes of a person's token that are not for people do not count, whichever grant let them in.
        """
        texts = [claims[name] for name in ("sub", "client_id", "scope", "jti")]
        if claims["iss"] != self._issuer or claims["aud"] != self._audience or type(claims["exp"]) is not int:
            raise ValueError("another issuer or audience, or exp is not an integer")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("sub, client_id, scope and jti must be strings")
        scopes, person = frozenset(read_scopes(claims["scope"])), person_of(claims)
        viewer = Viewer(claims["client_id"], scopes if person is None else scopes & PEOPLE, person, claims["exp"])
        return _Checked(viewer, claims["jti"], kid, int(claims.get("iat", 0)))

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        if len(self._remembered) >= MAX_REMEMBERED and digest not in self._remembered:
            self._remembered.pop(next(iter(self._remembered)))  # the oldest
        self._remembered[digest] = checked


def _open(token: str, keys: SigningKeys) -> tuple[dict[str, Any], str]:
    """Claims and key id of a token with our header and signature. Raises JoseError or ValueError."""
    signed = jws.extract_compact(token.encode("ascii"))
    header = signed.headers()
    if header.keys() != {"alg", "typ", "kid"} or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
        raise ValueError("the header must be alg, typ and kid, with our algorithm and type")
    key = keys.verifying(header["kid"])
    if key is None or not jws.validate_compact(signed, key, algorithms=[ALGORITHM]):
        raise ValueError("not signed by one of our keys")
    claims = orjson.loads(signed.payload)
    if not isinstance(claims, dict):
        raise ValueError("the claims must be an object")
    return claims, header["kid"]
