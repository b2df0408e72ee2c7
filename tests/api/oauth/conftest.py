"""An authorization server on a real Postgres, called in this process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from api.http.cors import Cors
from api.oauth import blocking_pool, lanes
from api.oauth.authority import Authority, open_authority
from api.oauth.clients.registration import register
from api.oauth.endpoints import routes
from core.settings import Gateway, Settings, Stores, Tokens
from db.clients import Client, create_client
from db.postgres import Pool
from tests.approving import BACK

ISSUER = "https://shop.example"
SECRET = "a-secret-of-the-client"
SCOPE = "recommendations:read profiles:read events:write orders:write catalog:write"

Register = Callable[..., Awaitable[Client]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a busy machine, where many threads wait for a connection."""
    monkeypatch.setattr(blocking_pool, "MAX_WAIT", 30.0)
    monkeypatch.setattr(lanes, "REQUEST_TIMEOUT", 60.0)


class Configured(Settings):
    """Settings that name this worker's Postgres and nothing else."""

    def __init__(self, postgres_url: str, public_url: str = ISSUER + "/", secret: str = "s" * 32) -> None:
        self.stores = Stores.model_validate(
            {
                "postgres_url": postgres_url,
                "postgres_timeout": 30,
                "redis_url": "redis://unused",
                "broker_url": "amqp://unused",
            }
        )
        self.gateway = Gateway.model_validate({"public_url": public_url, "secret": secret})
        self.tokens = Tokens(person_ttl=900, client_ttl=3600)


@pytest.fixture
def configured(postgres_url: str) -> Callable[[str], Configured]:
    """Settings of a gateway under some public URL."""
    return lambda public_url: Configured(postgres_url, public_url)


@pytest.fixture
async def authority(pool: Pool, postgres_url: str) -> AsyncIterator[Authority]:
    """The authorization server of one process."""
    async with open_authority(Configured(postgres_url), pool) as opened:
        yield opened


@pytest.fixture
async def http(authority: Authority) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the authorization server; its address is the one it names in X-Forwarded-For."""
    inner = Cors(Starlette(routes=routes()))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"authority": authority, "trusted_proxies": (ip_network("127.0.0.1"),)}
        await inner(scope, receive, send)

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://attacker.example") as client:
        yield client


@pytest.fixture
def registered(pool: Pool) -> Register:
    """A coroutine function that registers a client, by default with most scopes and both grants."""

    async def create(client_id: str = "shop", **wanted: Any) -> Client:
        settings = {"grants": ["client_credentials", "token-exchange"], "scope": SCOPE, "secret": SECRET} | wanted
        client = register(client_id, settings.pop("secret"), **settings)
        assert await create_client(pool, client)
        return client

    return create


@pytest.fixture
async def app(registered: Register) -> Client:
    """A public client with both grants for people: a mobile app."""
    return await registered(
        "app",
        secret=None,
        grants=["authorization_code", "refresh_token"],
        scope="openid offline_access recommendations:read profiles:read events:write orders:write",
        redirect_uris=[BACK],
    )
