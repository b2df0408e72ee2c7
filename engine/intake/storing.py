"""Events on their way from the queue to the memory: stored once, then told to the next answers."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

import asyncpg
import structlog
from redis.asyncio import Redis

from core import metrics
from core.contract import Event, Person
from core.errors import StoreUnavailable
from core.settings import Stores
from core.stores import log_unavailable
from db.cache import connect_redis, forget_people
from db.dead_events import NewDeadEvent, insert_dead_events
from db.identities import assign_to_users
from db.postgres import Connection, connect_pool
from db.recent_events import RecentEventsWriter
from db.tombstones import erased_events, erased_moments, newest_tombstone
from engine.intake.attempts import MOST_ATTEMPTS, WHOLE_ATTEMPTS, give_up, scatter
from engine.intake.reading import Stored, insert_good, read_batch

log = structlog.get_logger()
Answer = TypeVar("Answer")

FIRST_WAIT: Final = 0.2  # seconds, doubled up to LONGEST_WAIT
LONGEST_WAIT: Final = 5.0
PATIENCE: Final = 12.0  # seconds; with its last attempt and the putting back, a task ends within 30 s of being stopped

CONFIRM: Final = 5.0  # seconds the broker may take to confirm a batch that is put back


class Memory:
    """What one worker process holds: the stores, opened when first needed, used by one task at a time."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._pool: asyncpg.Pool | None = None

    @cached_property
    def redis(self) -> Redis:
        """The Redis client."""
        return connect_redis(self.stores.redis_url.get_secret_value(), self.stores.redis_timeout)

    @cached_property
    def recents(self) -> RecentEventsWriter:
        """Tells Redis, and remembers whom it missed."""
        return RecentEventsWriter(self.redis)

    async def pool(self) -> asyncpg.Pool:
        """The Postgres pool, of one connection. Raises StoreUnavailable while Postgres is away."""
        if self._pool is None:
            url = self.stores.postgres_url.get_secret_value()
            self._pool = await connect_pool(url, size=1, timeout=self.stores.postgres_timeout)
        return self._pool

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            await self._pool.close()
        await self.redis.aclose()


class Owned(NamedTuple):
    """The events that are kept, each as whose it is by now; whose state in Redis is outdated."""

    events: Sequence[Event]
    outdated: set[Person]


async def take(memory: Memory, batch: str, attempts: int) -> None:
    """Store the batch, or, where it ended its worker's process again and again, find out which event it is."""
    read = read_batch(batch, attempts)
    if attempts > MOST_ATTEMPTS:
        read = give_up(read, attempts - 1)
    elif attempts > WHOLE_ATTEMPTS and len(read.events) > 1:
        read = await scatter(memory.stores.broker_url.get_secret_value(), read, attempts - 1)
    await store(memory, read.events, PATIENCE, read.dead)


async def store(memory: Memory, events: Sequence[Event], patience: float, dead: Sequence[NewDeadEvent] = ()) -> int:
    """Insert what is new and refresh the recent events of everybody in the batch; returns how many were new.

    What cannot be stored goes to the dead events, with what is `dead` already. While Postgres is away it tries again
    for `patience` seconds, then raises what it last heard. Redis is told as well as can be: what it misses is rebuilt
    from Postgres.
    """
    stored, owned = await _keep(memory, events, patience, dead)
    try:
        await forget_people(memory.redis, owned.outdated)
        await memory.recents.add(stored.events)
    except StoreUnavailable as error:
        memory.recents.remember_missed([*events, *stored.events])
        log_unavailable(error, doing="write recent events", events=len(events))
    metrics.EVENTS.labels("stored").inc(stored.new)
    metrics.EVENTS.labels("known").inc(len(stored.events) - stored.new)
    metrics.EVENTS.labels("erased").inc(len(events) - len(owned.events))
    return stored.new


async def _keep(
    memory: Memory, events: Sequence[Event], patience: float, dead: Sequence[NewDeadEvent]
) -> tuple[Stored, Owned]:
    clock = asyncio.get_running_loop().time
    deadline, wait = clock() + patience, FIRST_WAIT
    while True:
        try:
            pool = await memory.pool()
            async with pool.acquire() as connection:
                owned = await _owned(connection, events)
                stored = await insert_good(connection, owned.events)
                await lay_to_rest(connection, [*dead, *stored.dead])
            return stored, owned
        except StoreUnavailable as error:
            if clock() + wait > deadline:
                raise
            log_unavailable(error, doing="store a batch", retry_in=wait)
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


async def _owned(connection: Connection, events: Sequence[Event]) -> Owned:
    """What an erased person did before is dropped; what a guest did is the user's they became by now."""
    erased = await erased_events(connection, events, await newest_tombstone(connection))
    kept = [event for at, event in enumerate(events) if at not in erased] if erased else events
    owned = await assign_to_users(connection, kept)
    moved = {told.person for told, own in zip(kept, owned, strict=True) if told is not own}
    return Owned(owned, moved | {events[at].person for at in erased})


async def lay_to_rest(connection: Connection, dead: Sequence[NewDeadEvent]) -> None:
    """Keep these among the dead events, and say so; but nothing of what an erased person did before."""
    told = {at: (person, burial.moment) for at, burial in enumerate(dead) if (person := burial.person)}
    erased = await erased_moments(connection, told)
    dead = [burial for at, burial in enumerate(dead) if at not in erased]
    await insert_dead_events(connection, dead)
    for reason, events in Counter(burial.reason for burial in dead).items():
        log.error("events_died", reason=reason, events=events)
        metrics.EVENTS.labels("dead").inc(events)
