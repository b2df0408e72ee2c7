"""A second authorization server, and a verifier of our own that may trust it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from api.oauth.foreign import issuers as foreign
from api.oauth.foreign import reading
from api.oauth.foreign.registration import register_issuer
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from api.oauth.tokens.verifier import Verifier
from core.errors import InvalidToken
from db.issuers import Issuer, add_issuer
from db.postgres import Pool
from tests.identity_provider import AUDIENCE, IdentityProvider, identity_provider

OURS = "https://shop.example"
SCOPE = "recommendations:read profiles:read events:write"

Trust = Callable[..., Awaitable[Issuer]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a busy machine: a test of the real times sets its own."""
    monkeypatch.setattr(foreign, "PATIENCE", 30.0)
    for name in ("CONNECT_TIMEOUT", "TOTAL_TIMEOUT"):
        monkeypatch.setattr(reading, name, 30.0)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """The shop's identity provider."""
    with identity_provider() as started:
        yield started


@pytest.fixture
def trust(pool: Pool, provider: IdentityProvider) -> Trust:
    """A coroutine function that registers the provider."""

    async def register(**wanted: Any) -> Issuer:
        issuer = register_issuer(**({"url": provider.url, "audience": AUDIENCE, "scope": SCOPE} | wanted))
        assert await add_issuer(pool, issuer)
        return issuer

    return register


@pytest.fixture
async def verifier(pool: Pool) -> AsyncIterator[Verifier]:
    """Our verifier; it reads what is registered at every use."""
    keys = SigningKeys(Sealer("k" * 32))
    await keys.start(pool)
    opened = Verifier(pool, keys, OURS, poll=0.0)
    yield opened
    await opened.close()


async def refused(verifier: Verifier, token: str) -> bool:
    """Whether a token is refused as not valid."""
    try:
        await verifier.verify(token)
    except InvalidToken:
        return True
    return False
