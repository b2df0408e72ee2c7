"""An event loop and connections of one worker process, opened after the fork and used by one task at a time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import copy_context
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

from httpx import AsyncClient
from redis.asyncio import Redis

from bus.rabbitmq.publisher import RabbitPublisher
from bus.webhook import webhook_client
from core.settings import Stores
from db.cache import connect_redis
from db.plain_sources import plain_sources_until
from db.postgres import Pool, connect_pool
from db.recent_events import RecentEventsWriter

Result = TypeVar("Result")

CONFIRM_TIMEOUT: Final = 5.0  # seconds the broker may take to confirm a message


class Connections:
    """The stores of one worker process, each connected when it is first needed."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._pool: Pool | None = None
        self._plain_sources: tuple[datetime | None] | None = None  # read once: it never changes

    @cached_property
    def redis(self) -> Redis:
        """The Redis client."""
        return connect_redis(self._stores.redis_url.get_secret_value(), self._stores.redis_timeout)

    @cached_property
    def recents(self) -> RecentEventsWriter:
        """Writes recent events to Redis, and remembers those it could not write."""
        return RecentEventsWriter(self.redis)

    @cached_property
    def webhooks(self) -> AsyncClient:
        """The HTTP client for webhooks."""
        return webhook_client()

    @property
    def broker_url(self) -> str:
        """The address of RabbitMQ."""
        return self._stores.broker_url.get_secret_value()

    async def pool(self) -> Pool:
        """The Postgres pool, of one connection. Raises StoreUnavailable while Postgres is away."""
        if self._pool is None:
            url = self._stores.postgres_url.get_secret_value()
            self._pool = await connect_pool(url, size=1, timeout=self._stores.postgres_timeout)
        return self._pool

    async def plain_sources_until(self) -> datetime | None:
        """Before which moment events may be stored under a plain source. Raises StoreUnavailable."""
        if self._plain_sources is None:
            self._plain_sources = (await plain_sources_until(await self.pool()),)
        return self._plain_sources[0]

    @asynccontextmanager
    async def publisher(self) -> AsyncIterator[RabbitPublisher]:
        """A publisher for one task: between tasks the loop does not run, and no heartbeats are sent."""
        publisher = RabbitPublisher(self.broker_url, CONFIRM_TIMEOUT)
        try:
            yield publisher
        finally:
            await publisher.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()
        await self.redis.aclose()
        if "webhooks" in vars(self):
            await self.webhooks.aclose()


class WorkerProcess:
    """One event loop and the connections of one worker process, made by its first task after the fork."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @cached_property
    def connections(self) -> Connections:
        """The stores of this process."""
        return Connections(self._stores)

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end on the loop of this process, with the caller's trace and log fields."""
        return self._runner.run(work, context=copy_context())
