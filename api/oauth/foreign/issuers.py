"""The foreign issuers of one process: what is registered, their keys, and who their tokens name."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import structlog

from api.http.refresher import NEVER
from api.oauth.foreign.keys import UnreadableKeys
from api.oauth.foreign.reading import FoundKeys, read_keys
from api.oauth.foreign.tokens import read_claims, read_header, viewer_of
from api.oauth.jose.compact import SignedToken, read_signed
from api.oauth.jose.public_keys import PublicKey
from core.errors import InvalidToken, KeysUnavailable
from core.single_flight import SingleFlight
from db.issuers import Issuer, list_issuers
from db.postgres import Connection
from engine.viewer import Viewer

log = structlog.get_logger()

RETRY = 30.0  # seconds between two reads of an issuer's keys, whether one failed or a token names an unknown key
PATIENCE = 2.0  # seconds that a token waits for the keys of its issuer
GRACE = 86_400.0  # seconds that keys are used after they should have been read again
THREADS = 4


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token that was verified: its viewer, and the registration and the key by which it was."""

    viewer: Viewer
    jti: str
    issuer: Issuer
    key: PublicKey


@dataclass(slots=True, eq=False)
class _Known:
    """An enabled issuer with the keys that were read last; times are on the monotonic clock."""

    issuer: Issuer
    found: FoundKeys | None = None
    read_at: float = NEVER
    tried_at: float = NEVER
    is_reading: bool = False

    @property
    def is_due(self) -> bool:
        """Whether the keys should be read again, and may."""
        life = 0.0 if self.found is None else self.found.life
        return monotonic() - self.read_at >= life and self.may_read

    @property
    def may_read(self) -> bool:
        """Whether the last try is long enough ago."""
        return monotonic() - self.tried_at >= RETRY

    @property
    def patience(self) -> float:
        """Seconds that a token of an unknown key waits for a read: not longer because a read takes long."""
        if self.is_reading:
            return PATIENCE - (monotonic() - self.tried_at)
        return PATIENCE if self.may_read else 0.0

    @property
    def has_keys(self) -> bool:
        """Whether keys were read, not too long ago."""
        return self.found is not None and monotonic() - self.read_at < self.found.life + GRACE

    def key(self, kid: str) -> PublicKey | None:
        """The issuer's key of that id."""
        return self.found.keys.usable.get(kid) if self.found is not None and self.has_keys else None

    def has_same_keys(self, issuer: Issuer) -> bool:
        """Whether the keys of a changed registration are these."""
        ours, theirs = self.issuer, issuer
        return (ours.jwks_url, ours.algorithms) == (theirs.jwks_url, theirs.algorithms)


class ForeignIssuers:
    """Verifies the tokens of registered issuers. Their keys are read in threads, ahead of need where possible.

    `own` is the URL of our own issuer: a registration of it does not count. `proxy` is an HTTP proxy to them.
    """

    def __init__(self, own: str, proxy: str | None = None) -> None:
        self._own = own
        self._proxy = proxy
        self._known: dict[str, _Known] = {}
        self._threads = ThreadPoolExecutor(THREADS, "foreign-issuers")
        self._reading = SingleFlight(self._read)

    async def refresh(self, connection: Connection) -> None:
        """Read again which issuers are registered. Raises StoreUnavailable."""
        listed = await list_issuers(connection)
        enabled = [one for one in listed if one.disabled_at is None and one.url != self._own]
        self._known = {issuer.url: self._renewed(issuer) for issuer in enabled}

    def read_due_keys(self) -> None:
        """Start to read the keys that are due."""
        for url, known in self._known.items():
            if known.is_due and not known.is_reading:
                self._reading.start(url)

    async def check(self, token: str) -> ForeignToken | None:
        """Who a token names; None for one that does not claim to be of a registered issuer.

        Raises InvalidToken, and KeysUnavailable while the issuer's keys cannot be read and none are known.
        """
        signed = _read(token) if self._known else None
        if signed is None or not isinstance(url := signed.claims.get("iss"), str) or url not in self._known:
            return None
        algorithm, kid = read_header(signed)
        if algorithm not in self._known[url].issuer.algorithms:
            raise InvalidToken()
        key = await self._key(url, kid)
        issuer = self._known[url].issuer
        claims = read_claims(signed, algorithm, key)
        viewer, jti = viewer_of(claims, issuer), claims.get("jti")
        return ForeignToken(viewer, jti if isinstance(jti, str) else "", issuer, key)

    def holds(self, token: ForeignToken) -> bool:
        """Whether a verified token would be verified by the same registration and key now."""
        known = self._known.get(token.issuer.url)
        return known is not None and known.issuer is token.issuer and known.key(token.key.kid or "") == token.key

    def close(self) -> None:
        """Read no more keys. A read that runs ends by its own time-out."""
        self._reading.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _renewed(self, issuer: Issuer) -> _Known:
        known = self._known.get(issuer.url)
        if known is None or not known.has_same_keys(issuer):
            return _Known(issuer)
        if known.issuer != issuer:
            known.issuer = issuer
        return known

    async def _key(self, url: str, kid: str) -> PublicKey:
        """The key of that id, read now if it is unknown. Raises InvalidToken and KeysUnavailable."""
        known = self._known[url]
        if (key := known.key(kid)) is not None:
            return key
        if (seconds := known.patience) > 0:
            await self._reading.result_within(url, seconds)
        if (current := self._known.get(url)) is None:
            raise InvalidToken()
        if (key := current.key(kid)) is not None:
            return key
        raise InvalidToken() if current.has_keys else KeysUnavailable()

    async def _read(self, url: str) -> None:
        """Read the keys of an issuer. A read that fails is logged and changes nothing."""
        known = self._known.get(url)
        if known is None:
            return
        known.tried_at, known.is_reading = monotonic(), True
        began = monotonic()
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, read_keys, known.issuer, self._proxy)
        except UnreadableKeys as error:
            log.warning("issuer_keys_unreadable", issuer=url, error=str(error))
        except Exception:  # a bug must not end the keys that are known
            log.exception("issuer_keys_unreadable", issuer=url)
        else:
            if known.found is None or known.found.keys != found.keys:
                log.info("issuer_keys_read", issuer=url, keys=len(found.keys.usable), unusable=found.keys.unusable[:3])
            known.found, known.read_at = found, began
        finally:
            known.is_reading = False


def _read(token: str) -> SignedToken | None:
    try:
        return read_signed(token)
    except ValueError:
        return None
