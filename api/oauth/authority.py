"""What one process needs to issue access tokens and to verify them."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from starlette.responses import Response

from api.http.cors import Origins
from api.oauth.blocking_pool import BlockingPool
from api.oauth.clients.activity import ClientActivity
from api.oauth.clients.credentials import BadClient, Credentials, named_client, read_credentials
from api.oauth.clients.guesses import Guesses
from api.oauth.foreign.issuers import ForeignIssuers
from api.oauth.issuer import issuer_of
from api.oauth.lanes import Lane
from api.oauth.server import Endpoint, TokenServer, check_grant_type
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from api.oauth.tokens.upkeep import Upkeep
from api.oauth.tokens.verifier import Verifier
from core.errors import StoreUnavailable
from core.settings import Settings
from core.single_flight import SingleFlight
from core.tasks import end
from db.postgres import Connection

THREADS = 2  # of each lane
UNKNOWN_THREADS = 1  # hash what is not known: argon2 takes 30 ms of a core, and answers need cores too
LAST_WRITE = 2.0  # seconds to write, at the end, what clients did
MAX_WAITING = 32  # token requests of each lane, running ones included


@dataclass(slots=True)
class Authority:
    """The authorization server of one process, and the verifier of its tokens.

    Secrets that were not seen before are checked in a lane of their own: however many are guessed, clients that
    authenticated before go on. So are requests without a secret.
    """

    issuer: str
    keys: SigningKeys
    verifier: Verifier
    origins: Origins
    server: TokenServer
    known: Lane
    unknown: Lane
    open: Lane
    activity: ClientActivity
    guesses: Guesses = field(default_factory=Guesses)
    _checks: SingleFlight[tuple[Credentials, str], bool] = field(init=False)

    def __post_init__(self) -> None:
        self._checks = SingleFlight(self._check)

    async def answer(
        self, endpoint: Endpoint, form: Mapping[str, str], headers: Mapping[str, str], caller: str
    ) -> Response:
        """Answer a form that `caller`, an address, sent to an endpoint.

        Raises TooManyGuesses, Overloaded, StoreUnavailable, TimeoutError, OAuth2Error.
        """
        if endpoint == "token":
            check_grant_type(form)
        credentials = read_credentials(headers, form)
        lane, share = await self._admit(credentials, caller)
        await self.verifier.refresh()  # sign with the keys of now: another process may have made or retired one
        response = await lane.run(share, self.server.answer, endpoint, form, headers)
        if response.status_code == BadClient.status_code:
            self.guesses.add_failure(credentials.client_id, caller)
        elif response.status_code == 200 and credentials.method != "none":
            self.guesses.set_familiar(credentials.client_id, caller)
        if response.status_code == 200:
            self.activity.note_use(credentials.client_id)
        return response

    def note_refusal(self, form: Mapping[str, str], headers: Mapping[str, str], reason: str) -> None:
        """Count a refused request for the client that it names."""
        if client_id := named_client(headers, form):
            self.activity.note_refusal(client_id, reason)

    async def _admit(self, credentials: Credentials, caller: str) -> tuple[Lane, Hashable]:
        """The lane in which the request runs, and whose places it takes there.

        A secret is checked before, and the signature of an assertion against the keys of the client's last one. What
        else comes goes to a lane of its own, by address: public clients, and forged assertions, whatever client they
        name, do not delay clients that have authenticated.
        """
        if self.server.remembers(credentials):
            return self.known, ("client", credentials.client_id)
        if credentials.secrets:
            if not await self._checks.result((credentials, caller)):
                raise BadClient()
            return self.known, ("client", credentials.client_id)
        self.guesses.check(credentials.client_id, caller)
        return self.open, ("address", caller)

    def close(self) -> None:
        """Stop checking secrets, and drop the requests that wait."""
        self._checks.cancel()
        self.known.close()
        self.unknown.close()
        self.open.close()

    async def _check(self, attempt: tuple[Credentials, str]) -> bool:
        """Whether these credentials are right. Attempts with the same ones at the same time are one."""
        credentials, caller = attempt
        who = credentials.client_id, caller
        self.guesses.begin(*who)
        failed = False
        try:
            lane = self.known if self.guesses.is_familiar(*who) else self.unknown
            failed = not await lane.run(("address", caller), self.server.knows, credentials)
        finally:
            if not failed:
                self.guesses.end(*who)
        return not failed


@asynccontextmanager
async def open_authority(settings: Settings, pool: Connection) -> AsyncIterator[Authority]:
    """Open the authorization server; make the first signing key if there is none. Raises StoreUnavailable."""
    issuer = issuer_of(settings.gateway.public_url)
    keys = SigningKeys(Sealer(*settings.gateway.secrets))
    await keys.start(pool)
    stores = settings.stores
    blocking_pool = BlockingPool(stores.postgres_url.get_secret_value(), stores.postgres_timeout, 3 * THREADS)
    activity = ClientActivity()
    proxy = settings.gateway.issuers_proxy
    foreign = ForeignIssuers(issuer, None if proxy is None else proxy.get_secret_value())
    verifier = Verifier(pool, keys, issuer, foreign, activity)
    authority = Authority(
        issuer=issuer,
        keys=keys,
        verifier=verifier,
        origins=Origins(pool, verifier.changes),
        server=TokenServer(issuer, keys, settings.tokens, blocking_pool),
        known=Lane("oauth-known", THREADS, MAX_WAITING),
        unknown=Lane("oauth-unknown", UNKNOWN_THREADS, MAX_WAITING),
        open=Lane("oauth-open", THREADS, MAX_WAITING),
        activity=activity,
    )
    days = settings.tokens.signing_key_days
    upkeep = asyncio.create_task(Upkeep(pool, keys, activity, timedelta(days=days) if days else None).run())
    try:
        with suppress(StoreUnavailable):  # the first token will try again
            await authority.verifier.refresh()  # begins to read the keys of foreign issuers
        yield authority
    finally:
        await end([upkeep])
        await _write_last(activity, pool)
        authority.close()
        await authority.verifier.close()
        await authority.origins.close()
        blocking_pool.close()


async def _write_last(activity: ClientActivity, pool: Connection) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WRITE):
            await activity.write(pool)
