"""A gateway asked over HTTP, with the worker's memory and the queue beside it."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from api.oauth.registration import register
from api.scopes import SCOPES
from core import clock
from core.settings import Stores
from db.clients import create_client
from db.items import upsert_items
from tests.erasing import authorize
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET
from workers.events import Memory


@pytest.fixture
async def memory(stores: Stores) -> AsyncIterator[Memory]:
    """What a worker process holds."""
    opened = Memory(stores)
    yield opened
    await opened.close()


@pytest.fixture
async def http(
    stores: Stores, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a socket and a client whose token has every scope."""
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap")])
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))
    async with asked(Configured(stores)) as client:
        await authorize(client, grant_type=CLIENT_CREDENTIALS)
        yield client
