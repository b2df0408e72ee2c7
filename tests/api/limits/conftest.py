"""Gateways with small limits, on real stores and without a socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from core.settings import Rates, Stores
from db.clients import create_client
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET

Gateway = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def limited(stores: Stores, pool: Pool, redis: Redis) -> Gateway:
    """Open a gateway with these rates; its HTTP client has a token with every scope."""
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))

    patient = stores.model_copy(update={"redis_timeout": 30})  # a busy machine is no outage

    @asynccontextmanager
    async def open_gateway(stores: Stores = patient, **rates: str) -> AsyncIterator[httpx.AsyncClient]:
        settings = Configured(stores)
        settings.rates = Rates.model_validate(rates)
        async with asked(settings) as client:
            client.headers["authorization"] = f"Bearer {await token(client)}"
            yield client

    return open_gateway


async def token(client: httpx.AsyncClient, **form: str) -> str:
    """A fresh access token of the tests' client."""
    form = {"grant_type": "client_credentials", **form}
    answer = await client.post("/oauth/token", data=form, auth=(CLIENT, SECRET))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return str(found["access_token"])
