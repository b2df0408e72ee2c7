"""The stores that commands work on: the database's address, one connection for one piece of work, and Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from cli.errors import NoDatabase
from core.secret_files import read_secret

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from db.postgres import Pool

REDIS_TIMEOUT = 5.0  # seconds

T = TypeVar("T")


def postgres_url() -> str:
    """The address of the database in the settings. Raises NoDatabase."""
    url = read_secret("PENCHANT_POSTGRES_URL")
    if not url:
        raise NoDatabase
    return url


def on_pool(work: "Callable[[Pool], Awaitable[T]]", url: str | None = None) -> T:
    """The result of `work` on a pool of its own, by default to the database of the settings.

    Raises NoDatabase, and StoreUnavailable when Postgres cannot be reached.
    """
    from db.postgres import connect_pool

    address = postgres_url() if url is None else url

    async def run() -> T:
        async with await connect_pool(address, size=1) as pool:
            return await work(pool)

    return asyncio.run(run())


@asynccontextmanager
async def redis_of_settings() -> "AsyncIterator[Redis | None]":
    """Redis for a block, None where the settings name none."""
    from db.cache import connect_redis

    url = read_secret("PENCHANT_REDIS_URL")
    if not url:
        yield None
        return
    redis = connect_redis(url, timeout=REDIS_TIMEOUT)
    try:
        yield redis
    finally:
        await redis.aclose()
