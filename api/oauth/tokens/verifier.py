"""Who is asking: checks access tokens. Trusts our own keys, one algorithm, issuer and audience, nothing else."""

import hashlib
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from api.http.glance import Glance
from api.oauth.issuer import audience_of
from api.oauth.tokens.claims import person_of
from api.oauth.tokens.issuing import TYPE
from api.oauth.tokens.keys import ALGORITHM, SigningKeys
from core import clock
from core.errors import InvalidToken, Unanswerable
from db.postgres import Connection
from db.revocations import Refused, list_refused
from engine.scopes import read_scopes
from engine.viewer import Viewer

POLL = 2.0  # seconds between looks at revocations and keys: with the look itself, three at most
BLIND = 300.0  # seconds to go on with the last known revocations while Postgres does not answer
LONGEST = 8192  # characters of a token
REMEMBERED = 10_000  # tokens


@dataclass(frozen=True, slots=True)
class _Checked:
    viewer: Viewer
    jti: str
    kid: str


class Verifier:
    """Checks tokens; remembers the good ones by digest, so that a token's signature is checked once per process."""

    def __init__(
        self, pool: Connection, keys: SigningKeys, issuer: str, *, poll: float = POLL, blind: float = BLIND
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._issuer = issuer
        self._audience = audience_of(issuer)
        self._refused = Refused(frozenset(), frozenset())
        self._seen: dict[bytes, _Checked] = {}
        self._blind = blind
        self._glance = Glance("revocations", self._look, every=poll)

    async def verify(self, token: str) -> Viewer:
        """The viewer a token names.

        Raises InvalidToken, and StoreUnavailable when revocations could not be read for minutes.
        """
        if len(token) > LONGEST or not token.isascii():
            raise InvalidToken()
        await self.refresh()
        digest = hashlib.sha256(token.encode("ascii")).digest()
        checked = self._seen.get(digest) or self._check(token)
        if (refusal := self._refusal(checked)) is not None:
            self._seen.pop(digest, None)
            raise InvalidToken(refusal)
        self._remember(digest, checked)
        return checked.viewer

    async def refresh(self) -> None:
        """Look at revocations and keys when the last look is two seconds old. Raises StoreUnavailable, see `verify`."""
        await self._glance.refresh()
        if monotonic() - self._glance.seen > self._blind:
            raise Unanswerable("postgres", "Revoked tokens cannot be told from good ones.")

    async def close(self) -> None:
        """Stop looking."""
        await self._glance.close()

    async def _look(self) -> None:
        self._refused = await list_refused(self._pool)
        await self._keys.refresh(self._pool)

    def _refusal(self, checked: _Checked) -> str | None:
        if checked.viewer.expires_at <= clock.now().timestamp():
            return "The access token has expired."
        if checked.jti in self._refused.tokens or checked.viewer.client_id in self._refused.clients:
            return "The access token was revoked."
        return None if self._keys.verifying(checked.kid) else "The key of the access token was withdrawn."

    def _check(self, token: str) -> _Checked:
        try:
            return self._read(*_open(token, self._keys))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise InvalidToken() from error

    def _read(self, claims: dict[str, Any], kid: str) -> _Checked:
        """Raises ValueError, KeyError or TypeError for claims that are not those of our access tokens."""
        texts = [claims[name] for name in ("sub", "client_id", "scope", "jti")]
        if claims["iss"] != self._issuer or claims["aud"] != self._audience or type(claims["exp"]) is not int:
            raise ValueError("not for us")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("not our claims")
        scopes = frozenset(read_scopes(claims["scope"]))
        viewer = Viewer(claims["client_id"], scopes, person_of(claims), claims["exp"])
        return _Checked(viewer, claims["jti"], kid)

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        if len(self._seen) >= REMEMBERED and digest not in self._seen:
            self._seen.pop(next(iter(self._seen)))  # the oldest
        self._seen[digest] = checked


def _open(token: str, keys: SigningKeys) -> tuple[dict[str, Any], str]:
    """Claims and key id, once header and signature are ours. Raises JoseError or ValueError."""
    signed = jws.extract_compact(token.encode("ascii"))
    header = signed.headers()
    if header.keys() != {"alg", "typ", "kid"} or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
        raise ValueError("not a header of ours: no jwk, jku, x5u or crit, one algorithm, one type")
    key = keys.verifying(header["kid"])
    if key is None or not jws.validate_compact(signed, key, algorithms=[ALGORITHM]):
        raise ValueError("not signed by us")
    claims = orjson.loads(signed.payload)
    if not isinstance(claims, dict):
        raise ValueError("not claims")
    return claims, header["kid"]
