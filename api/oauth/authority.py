"""What one process needs to issue access tokens and to verify them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.responses import Response

from api.http.cors import Origins
from api.oauth.blocking_pool import BlockingPool
from api.oauth.issuer import audience_of, issuer_of
from api.oauth.server import TokenServer
from api.oauth.tokens.issuing import AccessTokens
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from api.oauth.tokens.verifier import Verifier
from core.errors import Overloaded
from core.settings import Settings
from db.postgres import Connection

THREADS = 4  # an argon2 check takes 19 MiB and 30 ms in each
MAX_WAITING = 64  # token requests, running ones included
REQUEST_TIMEOUT = 12.0  # seconds a token request may take; Postgres has its own, shorter timeouts


@dataclass(slots=True)
class Authority:
    """The authorization server of one process, and the verifier of its tokens."""

    issuer: str
    keys: SigningKeys
    verifier: Verifier
    origins: Origins
    server: TokenServer
    threads: ThreadPoolExecutor
    waiting: int = field(default=0)

    async def answer(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """Answer a token request in a thread. Raises Overloaded, StoreUnavailable, TimeoutError."""
        if self.waiting >= MAX_WAITING:
            raise Overloaded()
        self.waiting += 1
        try:
            await self.verifier.refresh()  # sign with the keys of now: another process may have made or retired one
            async with asyncio.timeout(REQUEST_TIMEOUT):
                work = asyncio.get_running_loop().run_in_executor(self.threads, self.server.answer, form, headers)
                return await work
        finally:
            self.waiting -= 1


@asynccontextmanager
async def open_authority(settings: Settings, pool: Connection) -> AsyncIterator[Authority]:
    """Open the authorization server; make the first signing key if there is none. Raises StoreUnavailable."""
    issuer = issuer_of(settings.gateway.public_url)
    keys = SigningKeys(Sealer(settings.gateway.secret.get_secret_value()))
    await keys.start(pool)
    stores = settings.stores
    blocking_pool = BlockingPool(stores.postgres_url.get_secret_value(), stores.postgres_timeout, THREADS)
    tokens = AccessTokens(issuer, audience_of(issuer), keys, settings.tokens)
    authority = Authority(
        issuer=issuer,
        keys=keys,
        verifier=Verifier(pool, keys, issuer),
        origins=Origins(pool),
        server=TokenServer(audience_of(issuer), tokens, blocking_pool),
        threads=ThreadPoolExecutor(THREADS, "oauth"),
    )
    try:
        yield authority
    finally:
        authority.threads.shutdown(wait=False, cancel_futures=True)
        await authority.verifier.close()
        await authority.origins.close()
        blocking_pool.close()
