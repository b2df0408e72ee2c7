"""The private stack: real servers, private addresses, nothing left behind."""

import asyncpg
from redis.asyncio import Redis

from core.settings import Stores


async def test_the_database_is_migrated_and_empty(pool: asyncpg.Pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM items") == 0


async def test_valkey_is_empty(redis: Redis) -> None:
    assert await redis.dbsize() == 0


def test_all_stores_have_an_address(stores: Stores) -> None:
    assert stores.broker_url.get_secret_value().startswith("amqp://")
