"""Events on their way from the queue to the memory: stored once, then told to the next answers."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import structlog
from celery import Celery, Task
from pydantic import ConfigDict, TypeAdapter
from redis.asyncio import Redis

from core import metrics
from core.contract import Event, Person
from core.errors import StoreUnavailable
from core.settings import Stores
from db import cache
from db.cache import add_recent, connect_redis, forget_people
from db.events import insert_events
from db.identities import given_to_users
from db.postgres import connect_pool
from db.tombstones import erased_events, newest_tombstone
from workers.observation import observed
from workers.topology import STORE_EVENTS

log = structlog.get_logger()
Answer = TypeVar("Answer")

FIRST_WAIT: Final = 0.2  # seconds, doubled up to LONGEST_WAIT
LONGEST_WAIT: Final = 5.0
PATIENCE: Final = 12.0  # seconds; with its last attempt and the putting back, a task ends within 30 s of being stopped

CONFIRM: Final = 5.0  # seconds the broker may take to confirm a batch that is put back

AWAY: Final = (
    StoreUnavailable,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,  # not migrated yet
)

_BATCH: Final = TypeAdapter(list[Event], config=ConfigDict(hide_input_in_errors=True))  # nobody's data in the log


class Memory:
    """What one worker process holds: the stores, opened when first needed, used by one task at a time."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._pool: asyncpg.Pool | None = None

    @cached_property
    def redis(self) -> Redis:
        """The Redis client."""
        return connect_redis(self._stores.redis_url.get_secret_value(), self._stores.redis_timeout)

    async def pool(self) -> asyncpg.Pool:
        """The Postgres pool, of one connection. Raises StoreUnavailable while Postgres is away."""
        if self._pool is None:
            url = self._stores.postgres_url.get_secret_value()
            self._pool = await connect_pool(url, size=1, timeout=self._stores.postgres_timeout)
        return self._pool

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            await self._pool.close()
        await self.redis.aclose()


@dataclass
class Loop:
    """One event loop and one memory per worker process, made by the first task after the fork."""

    stores: Stores

    @cached_property
    def memory(self) -> Memory:
        """This process's stores."""
        return Memory(self.stores)

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run to the end on this process's loop, in the caller's context: its trace, and what its log lines say."""
        return self._runner.run(work, context=copy_context())


class Stored(NamedTuple):
    """The events that are kept, each as whose it is by now, and how many were new; whose state in Redis is outdated."""

    kept: list[Event]
    new: int
    outdated: set[Person]


def register(app: Celery, stores: Stores) -> None:
    """Give the application its task; the stores are opened by the process that runs it."""
    loop = Loop(stores)

    @app.task(name=STORE_EVENTS, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def store_events(task: Task, batch: str) -> None:
        """Store a batch, as the JSON text `enqueue` wrote. Put back as a fresh message when Postgres stays away.

        A fresh message, because one that is returned counts towards the delivery limit of the queue.
        """
        with observed(STORE_EVENTS, task.request.id, task.request.get("traceparent")):
            try:
                loop.run(store(loop.memory, read_batch(batch), PATIENCE))
            except AWAY as error:
                log.warning("batch_put_back", error=str(error))
                raise task.retry(countdown=0, confirm_timeout=CONFIRM) from None


def read_batch(text: str) -> list[Event]:
    """The events of a message. Raises ValidationError, which shows nothing of them."""
    return _BATCH.validate_json(text)


async def store(memory: Memory, events: Sequence[Event], patience: float) -> int:
    """Insert what is new and refresh the recent events of everybody in the batch; returns how many were new.

    While Postgres is away it tries again for `patience` seconds, then raises what it last heard. Redis is told as well
    as can be: what it misses is rebuilt from Postgres.
    """
    told = await _insert(memory, events, patience)
    try:
        await forget_people(memory.redis, told.outdated)
        await add_recent(memory.redis, told.kept)
    except cache.UNREACHABLE as error:
        log.warning("recents_not_told", events=len(events), error=str(error))
    metrics.EVENTS.labels("stored").inc(told.new)
    metrics.EVENTS.labels("known").inc(len(told.kept) - told.new)
    metrics.EVENTS.labels("erased").inc(len(events) - len(told.kept))
    return told.new


async def _insert(memory: Memory, events: Sequence[Event], patience: float) -> Stored:
    clock = asyncio.get_running_loop().time
    deadline, wait = clock() + patience, FIRST_WAIT
    while True:
        try:
            return await _insert_whose(await memory.pool(), events)
        except AWAY as error:
            if clock() + wait > deadline:
                raise
            log.warning("postgres_away", retry_in=wait, error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


async def _insert_whose(pool: asyncpg.Pool, events: Sequence[Event]) -> Stored:
    """What an erased person did before is dropped; what a guest did is the user's they became by now."""
    async with pool.acquire() as connection:
        erased = await erased_events(connection, events, await newest_tombstone(connection))
        kept = [event for at, event in enumerate(events) if at not in erased] if erased else events
        owned = await given_to_users(connection, kept)
        new = sum(await insert_events(connection, owned))
    moved = {told.person for told, own in zip(kept, owned, strict=True) if told is not own}
    return Stored(owned, new, moved | {events[at].person for at in erased})
