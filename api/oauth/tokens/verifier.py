"""Verifies access tokens. It trusts our own keys, one algorithm, one issuer and one audience, nothing else."""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from api.http.refresher import Refresher
from api.oauth.clients.activity import ClientActivity
from api.oauth.compact import check_spelling, from_base64url, read_object
from api.oauth.foreign.issuers import ForeignIssuers, ForeignToken
from api.oauth.issuer import audience_of
from api.oauth.tokens.claims import person_of
from api.oauth.tokens.issuing import TYPE
from api.oauth.tokens.signing_keys import ALGORITHM, VERIFY_FOR, SigningKeys
from core import clock
from core.errors import InvalidInput, InvalidToken, Unanswerable
from db.clients import ChangedClient, list_changed
from db.postgres import Connection
from db.revocations import RefusedTokens, list_refused
from engine.scopes import PEOPLE, read_scopes
from engine.viewer import Viewer

POLL = 2.0  # seconds between reads of revocations and keys: a revocation counts after three at most
MAX_AGE = 300.0  # seconds to use the revocations read last while Postgres does not answer
CLOCK_SKEW = 5.0  # seconds that the clock of another gateway may be ahead
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
    foreign: ForeignToken | None = None


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
        self._foreign = ForeignIssuers(issuer)
        self._refused = RefusedTokens(frozenset(), frozenset())
        self._changed: dict[str, ChangedClient] = {}
        self._remembered: dict[bytes, _Checked] = {}
        self._max_age = max_age
        self._refresher = Refresher("revocations", self._read_revocations, every=poll)

    async def verify(self, token: str) -> Viewer:
        """The viewer a token names.

        Raises InvalidToken, StoreUnavailable when revocations could not be read for five minutes, and KeysUnavailable
        while the keys of a foreign issuer cannot be read.
        """
        if len(token) > MAX_LENGTH or not token.isascii():
            raise InvalidToken()
        await self.refresh()
        digest = hashlib.sha256(token.encode("ascii")).digest()
        checked = self._recall(digest) or await self._check_foreign(token) or self._check(token)
        if (refusal := self._refusal(checked)) is not None:
            self._remembered.pop(digest, None)
            self._activity.note_refusal(checked.viewer.client_id, REASONS[refusal])
            raise InvalidToken(refusal)
        self._remember(digest, checked)
        self._activity.note_use(checked.viewer.client_id)
        return self._as_of_now(checked)

    async def refresh(self) -> None:
        """Read revocations and keys when the last read is two seconds old. Raises StoreUnavailable, see `verify`."""
        await self._refresher.refresh()
        if monotonic() - self._refresher.read_at > self._max_age:
            raise Unanswerable("postgres", "Tokens cannot be checked: revocations could not be read for minutes.")

    async def close(self) -> None:
        """Stop reading."""
        self._foreign.close()
        await self._refresher.close()

    async def _read_revocations(self) -> None:
        self._refused = await list_refused(self._pool)
        self._changed = await list_changed(self._pool, LONGEST_LIFE)
        await self._keys.refresh(self._pool)
        await self._foreign.refresh(self._pool)

    def _recall(self, digest: bytes) -> _Checked | None:
        """What is remembered of a token; not that of a foreign token which has to be verified anew."""
        checked = self._remembered.get(digest)
        if checked is not None and checked.foreign is not None and not self._foreign.holds(checked.foreign):
            return None
        return checked

    def _refusal(self, checked: _Checked) -> str | None:
        if checked.viewer.expires_at <= clock.now().timestamp():
            return EXPIRED
        if checked.jti in self._refused.tokens or checked.viewer.client_id in self._refused.clients:
            return REVOKED
        if checked.foreign is not None:
            return None
        changed = self._changed.get(checked.viewer.client_id)
        if changed and changed.enabled_at and checked.issued_at < int(changed.enabled_at.timestamp()):
            return REVOKED
        return None if self._keys.verifying(checked.kid) else WITHDRAWN

    def _as_of_now(self, checked: _Checked) -> Viewer:
        """The viewer without the scopes that its client lost since the token was issued."""
        viewer, changed = checked.viewer, self._changed.get(checked.viewer.client_id)
        if changed is None or checked.foreign is not None:
            return viewer
        return replace(viewer, scopes=viewer.scopes & changed.scopes)

    async def _check_foreign(self, token: str) -> _Checked | None:
        foreign = await self._foreign.check(token)
        return None if foreign is None else _Checked(foreign.viewer, foreign.jti, foreign.kid, 0, foreign)

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
        latest = clock.now().timestamp() + CLOCK_SKEW
        if not all(type(claims.get(name, 0)) is int and claims.get(name, 0) <= latest for name in ("iat", "nbf")):
            raise ValueError("iat and nbf must be integers, and not in the future")
        if claims["exp"] > latest + VERIFY_FOR.total_seconds():
            raise ValueError("exp is later than that of any token of ours")
        scopes, person = frozenset(read_scopes(claims["scope"])), person_of(claims)
        viewer = Viewer(claims["client_id"], scopes if person is None else scopes & PEOPLE, person, claims["exp"])
        return _Checked(viewer, claims["jti"], kid, int(claims.get("iat", 0)))

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        if len(self._remembered) >= MAX_REMEMBERED and digest not in self._remembered:
            self._remembered.pop(next(iter(self._remembered)))  # the oldest
        self._remembered[digest] = checked


def _open(token: str, keys: SigningKeys) -> tuple[dict[str, Any], str]:
    """Claims and key id of a token with our header and signature. Raises JoseError or ValueError."""
    check_spelling(token)
    signed = jws.extract_compact(token.encode("ascii"))
    header = read_object(from_base64url(token.partition(".")[0]))
    if header.keys() != {"alg", "typ", "kid"} or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
        raise ValueError("the header must be alg, typ and kid, with our algorithm and type")
    key = keys.verifying(header["kid"])
    if key is None or not jws.validate_compact(signed, key, algorithms=[ALGORITHM]):
        raise ValueError("not signed by one of our keys")
    return read_object(signed.payload), header["kid"]
