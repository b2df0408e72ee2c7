"""Verifies access tokens. It trusts our own keys, one algorithm, one issuer and one audience, nothing else."""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any

from api.http.oauth_changes import Copy, OAuthChanges
from api.http.refresher import Refresher
from api.oauth.clients.activity import ClientActivity
from api.oauth.foreign.issuers import ForeignIssuers, ForeignToken
from api.oauth.issuer import audience_of
from api.oauth.tokens.claims import person_of
from api.oauth.tokens.opening import open_access_token
from api.oauth.tokens.signing_keys import SigningKeys
from core import clock
from core.errors import InvalidInput, InvalidToken, Unanswerable
from db.clients import ChangedClient, list_changed
from db.postgres import Connection
from engine.scopes import PEOPLE, read_scopes
from engine.viewer import Viewer

POLL = 2.0  # seconds between reads of revocations and keys: a revocation counts after three at most
KEYS_EVERY = 10.0  # seconds after which the keys are read even if none has changed: they begin and end by themselves
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
    family: str | None
    issued_at: int  # seconds; of a foreign token, 0
    foreign: ForeignToken | None = None


class Verifier:
    """Verifies tokens. It remembers valid ones by digest, so a process checks the signature of a token once."""

    def __init__(
        self,
        pool: Connection,
        keys: SigningKeys,
        issuer: str,
        foreign: ForeignIssuers | None = None,
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
        self._foreign = foreign or ForeignIssuers(issuer)
        self.changes = OAuthChanges(pool)
        self._changed: dict[str, ChangedClient] = {}
        self._copies = (
            Copy(self.changes, ("clients",), self._read_clients),
            Copy(self.changes, ("keys",), self._read_keys, every=KEYS_EVERY),
            Copy(self.changes, ("clients", "issuers"), self._read_issuers),
        )
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
        digest = hashlib.blake2b(token.encode("ascii"), digest_size=32).digest()
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
        await self.changes.read()
        for copy in self._copies:
            await copy.renew()
        self._foreign.read_due_keys()

    async def _read_clients(self) -> None:
        self._changed = await list_changed(self._pool, LONGEST_LIFE)

    async def _read_keys(self) -> None:
        await self._keys.refresh(self._pool)

    async def _read_issuers(self) -> None:
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
        if self._is_revoked(checked):
            return REVOKED
        withdrawn = checked.foreign is None and self._keys.verifying(checked.kid) is None
        return WITHDRAWN if withdrawn else None

    def _is_revoked(self, checked: _Checked) -> bool:
        if checked.jti in self.changes.tokens or checked.family in self.changes.families:
            return True
        changed = self._changed.get(checked.viewer.client_id)
        if changed is None or changed.disabled or checked.foreign is not None:
            return changed is not None and changed.disabled
        return bool(changed.enabled_at and checked.issued_at < int(changed.enabled_at.timestamp()))

    def _as_of_now(self, checked: _Checked) -> Viewer:
        """The viewer without the scopes that its client lost since the token was issued."""
        viewer, changed = checked.viewer, self._changed.get(checked.viewer.client_id)
        if changed is None:
            return viewer
        return replace(viewer, scopes=viewer.scopes & changed.scopes)

    async def _check_foreign(self, token: str) -> _Checked | None:
        foreign = await self._foreign.check(token)
        return (
            None if foreign is None else _Checked(foreign.viewer, foreign.jti, foreign.key.kid or "", None, 0, foreign)
        )

    def _check(self, token: str) -> _Checked:
        try:
            return _checked(*open_access_token(token, self._keys, self._issuer, self._audience))
        except (InvalidInput, ValueError, KeyError, TypeError) as error:
            raise InvalidToken() from error

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        if len(self._remembered) >= MAX_REMEMBERED and digest not in self._remembered:
            self._remembered.pop(next(iter(self._remembered)))  # the oldest
        self._remembered[digest] = checked


def _checked(claims: dict[str, Any], kid: str) -> _Checked:
    """Raises InvalidInput, ValueError, KeyError or TypeError for claims that our access tokens do not have.

    The scopes of a person's token that are not for people do not count, whichever grant let them in.
    """
    scopes, person = frozenset(read_scopes(claims["scope"])), person_of(claims)
    viewer = Viewer(claims["client_id"], scopes if person is None else scopes & PEOPLE, person, claims["exp"])
    return _Checked(viewer, claims["jti"], kid, claims.get("sid"), claims.get("iat", 0))
