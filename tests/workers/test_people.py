"""What is carried on about people: guests whose last events landed while they were being joined."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from core import clock
from core.contract import Event, Person, read_event
from core.settings import Stores
from db import identities
from db.cache import add_recent, person_keys, read_person, write_base
from db.events import events_of_person, insert_events
from db.identities import join_guest, unsettled_identities
from workers.events import Memory, store
from workers.people import LANDED, settle_guests

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA, GUEST = Person("user", "anna"), Person("guest", "g-1")


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "anonymousId": "g-1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


@pytest.fixture
async def memory(stores: Stores) -> AsyncIterator[Memory]:
    opened = Memory(stores)
    yield opened
    await opened.close()


async def test_a_batch_stored_after_the_identity_is_the_users_and_nobody_elses_changes(
    memory: Memory, pool: asyncpg.Pool, redis: Redis
) -> None:
    await join_guest(pool, "g-1", "anna", "shop")
    batch = [make_event(), make_event(anonymousId="g-2"), make_event(userId="bert")]
    assert await store(memory, batch, patience=5) == 3
    assert [event.id for event in await events_of_person(pool, ANNA)] == [batch[0].id]
    assert [event.id for event in await events_of_person(pool, Person("guest", "g-2"))] == [batch[1].id]
    assert [event.id for event in await events_of_person(pool, Person("user", "bert"))] == [batch[2].id]
    assert [len((await read_person(redis, person))[1]) for person in (ANNA, GUEST)] == [1, 0]


async def test_what_slipped_in_while_the_guest_was_joined_is_given_to_the_user_later(
    pool: asyncpg.Pool, redis: Redis
) -> None:
    await join_guest(pool, "g-1", "anna", "shop")
    slipped = make_event()
    await insert_events(pool, [slipped])  # as by a worker that had not heard of it
    await add_recent(redis, [slipped])
    await write_base(redis, ANNA, b"built before")
    soon = clock.now() + LANDED / 2
    assert await settle_guests(pool, redis, soon) == 0
    assert await settle_guests(pool, redis, clock.now() + 2 * LANDED) == 1
    assert [event.id for event in await events_of_person(pool, ANNA)] == [slipped.id]
    base, delta = await read_person(redis, ANNA)
    assert (base, len(delta)) == (None, 1)
    assert not await redis.exists(*person_keys(GUEST))
    assert await settle_guests(pool, redis, clock.now() + 2 * LANDED) == 0, "once"


async def test_a_guest_of_very_many_events_is_given_to_the_user_in_parts(
    pool: asyncpg.Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "MOST_AT_ONCE", 4)
    moments = [NOW - timedelta(hours=hours) for hours in range(10)]
    await insert_events(pool, [make_event(id="e", occurredAt=moment.isoformat()) for moment in moments])
    await join_guest(pool, "g-1", "anna", "shop")
    seen = [len(await events_of_person(pool, ANNA))]
    while await unsettled_identities(pool, clock.now() + timedelta(hours=1)):
        await settle_guests(pool, redis, clock.now() + timedelta(hours=1))
        seen.append(len(await events_of_person(pool, ANNA)))
    assert seen == [5, 10, 10]
