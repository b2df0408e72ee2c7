"""Stores events from the queue: once in Postgres, then among the recent events in Redis."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import asyncpg
from redis.asyncio import Redis

from bus.publisher import Publisher
from core import metrics
from core.contract import Event, Person
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.cache import forget_people
from db.dead_events import DeadReason, NewDeadEvent
from db.events import find_conflicts, insert_events
from db.identities import assign_to_users
from db.plain_sources import stored_by_other_release
from db.postgres import Connection, Pool
from db.recent_events import RecentEventsWriter
from db.tombstones import erased_events, newest_tombstone
from engine.dead_events import records
from engine.dead_events.storing import record_dead_events
from engine.intake.attempts import MAX_ATTEMPTS, WHOLE_ATTEMPTS, give_up, split
from engine.intake.reading import read_batch

FIRST_WAIT: Final = 0.2  # seconds, doubled up to MAX_WAIT
MAX_WAIT: Final = 5.0
STORE_TIMEOUT: Final = 12.0  # seconds; with the last attempt and the retry message, a stopped task ends within 30 s

UNSTORABLE: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)  # errors about a row, not about the server


class EventStores(Protocol):
    """The stores that a batch goes to."""

    @property
    def redis(self) -> Redis:
        """The Redis client."""

    @property
    def recents(self) -> RecentEventsWriter:
        """Writes recent events to Redis, and remembers those it could not write."""

    async def pool(self) -> Pool:
        """The Postgres pool. Raises StoreUnavailable while Postgres is away."""

    async def plain_sources_until(self) -> datetime | None:
        """The result of `db.plain_sources`. Raises StoreUnavailable while Postgres is away."""


class Owned(NamedTuple):
    """The events that are kept, each under the person it belongs to now; people whose state in Redis is outdated.

    `erased` and `repeated` count the others: from before their person's erasure, or stored by another release.
    """

    events: Sequence[Event]
    outdated: set[Person]
    erased: int
    repeated: int


class Stored(NamedTuple):
    """How many events were new, the events stored now, and a row for each that cannot be stored."""

    new: int
    events: Sequence[Event]
    dead: list[NewDeadEvent]


async def store_batch(stores: EventStores, publisher: Publisher, text: str, attempts: int) -> None:
    """Store a batch, the JSON array of a message. A batch that keeps ending its worker's process is split.

    `attempts`: which attempt this is, from 1. Raises StoreUnavailable while Postgres or the broker is away.
    """
    batch = read_batch(text, attempts)
    if attempts > MAX_ATTEMPTS:
        batch = give_up(batch, attempts - 1)
    elif attempts > WHOLE_ATTEMPTS and len(batch.events) > 1:
        batch = await split(publisher, batch, attempts - 1)
    await store(stores, batch.events, STORE_TIMEOUT, batch.dead)


async def store(stores: EventStores, events: Sequence[Event], timeout: float, dead: Sequence[NewDeadEvent] = ()) -> int:
    """Insert the new events and refresh the recent events of their people; returns how many were new.

    An event that cannot be stored becomes a dead event, together with `dead`. While Postgres is away, this tries again
    for `timeout` seconds, then raises the last error. Redis may miss events: it is then rebuilt from Postgres.
    """
    stored, owned = await _keep(stores, events, timeout, dead)
    try:
        await forget_people(stores.redis, owned.outdated)
        await stores.recents.add(stored.events)
    except StoreUnavailable as error:
        stores.recents.remember_missed([*events, *stored.events])
        log_unavailable(error, doing="write recent events", events=len(events))
    metrics.EVENTS.labels("stored").inc(stored.new)
    metrics.EVENTS.labels("known").inc(len(stored.events) - stored.new + owned.repeated)
    metrics.EVENTS.labels("erased").inc(owned.erased)
    return stored.new


async def _keep(
    stores: EventStores, events: Sequence[Event], timeout: float, dead: Sequence[NewDeadEvent]
) -> tuple[Stored, Owned]:
    clock = asyncio.get_running_loop().time
    deadline, wait = clock() + timeout, FIRST_WAIT
    while True:
        try:
            pool, plain_until = await stores.pool(), await stores.plain_sources_until()
            async with pool.acquire() as connection:
                owned = await _owned(connection, events, plain_until)
                stored = await insert_good(connection, owned.events)
                await record_dead_events(connection, [*dead, *stored.dead])
            return stored, owned
        except StoreUnavailable as error:
            if clock() + wait > deadline:
                raise
            log_unavailable(error, doing="store a batch", retry_in=wait)
        await asyncio.sleep(wait)
        wait = min(2 * wait, MAX_WAIT)


async def _owned(connection: Connection, events: Sequence[Event], plain_until: datetime | None) -> Owned:
    """Drop the events from before their person was erased, and those that another release stored under its source.

    Assign the events of guests who became users, and of merged users.
    """
    erased = await erased_events(connection, events, await newest_tombstone(connection))
    repeated = await stored_by_other_release(connection, events, plain_until) - erased
    dropped = erased | repeated
    kept = [event for at, event in enumerate(events) if at not in dropped] if dropped else events
    owned = await assign_to_users(connection, kept)
    outdated = {sent.person for sent, own in zip(kept, owned, strict=True) if sent is not own}
    outdated |= {events[at].person for at in erased}
    # The gateway may have added these to the recent events, under an identity that Postgres does not have.
    outdated |= {person for at in repeated for person in await _people_of(connection, events[at])}
    return Owned(owned, outdated, len(erased), len(repeated))


async def _people_of(connection: Connection, event: Event) -> set[Person]:
    """The person of the event, and the user that this person was joined to, if any."""
    (owned,) = await assign_to_users(connection, [event])
    return {event.person, owned.person}


async def insert_good(connection: Connection, events: Sequence[Event]) -> Stored:
    """Store the events that can be stored. When all are new and valid, this is one statement."""
    outcomes = await _insert(connection, events)
    known = [event for event, outcome in zip(events, outcomes, strict=True) if outcome is False]
    conflicts = {id(event) for event in await find_conflicts(connection, known)}
    dead = [outcome for outcome in outcomes if isinstance(outcome, NewDeadEvent)]
    dead += [
        records.of_event(event, DeadReason.CONFLICT, records.CONFLICT) for event in known if id(event) in conflicts
    ]
    good = [
        event
        for event, outcome in zip(events, outcomes, strict=True)
        if not isinstance(outcome, NewDeadEvent) and id(event) not in conflicts
    ]
    return Stored(outcomes.count(True), good, dead)


async def _insert(connection: Connection, events: Sequence[Event]) -> list[bool | NewDeadEvent]:
    """For each event: True when it is new, False when it was stored before, its row when Postgres refuses it.

    Refused events are found by halving the batch.
    """
    try:
        return [*await insert_events(connection, events)]
    except UNSTORABLE as error:
        if len(events) == 1:
            return [records.of_refused_event(events[0], error)]
    middle = len(events) // 2
    return [*await _insert(connection, events[:middle]), *await _insert(connection, events[middle:])]
