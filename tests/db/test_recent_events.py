"""When Redis missed an event, the base of its person is dropped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import pytest
from redis.asyncio import Redis

from core.contract import Event, Person, read_event
from core.errors import StoreUnavailable
from db import recent_events
from db.cache import connect_redis, read_person, write_base
from db.recent_events import RecentEventsWriter
from tests.faults import Relay, eventually

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANNA, BOB = Person("user", "anna"), Person("user", "bob")


def viewed(user: str) -> Event:
    return read_event({"type": "VIEW", "userId": user, "itemId": "milk"}, source="shop", received_at=NOW)


@pytest.fixture
async def relay(redis_url: str) -> AsyncIterator[Relay]:
    opened = Relay(redis_url)
    yield opened
    await opened.close()


@asynccontextmanager
async def missed_while_away(relay: Relay, redis: Redis) -> AsyncIterator[RecentEventsWriter]:
    for person in (ANNA, BOB):
        await write_base(redis, person, b"a base")
    async with connect_redis(await relay.reserve()) as through_relay:
        writer = RecentEventsWriter(through_relay)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await writer.add([viewed("anna")])
        with pytest.raises(StoreUnavailable):
            await writer.drop_outdated()
        await relay.open()
        await eventually(partial(answers, through_relay))
        yield writer


async def answers(redis: Redis) -> bool:
    with suppress(StoreUnavailable):
        await read_person(redis, BOB)
        return True
    return False


async def test_the_base_of_a_person_with_a_missed_event_is_dropped_with_the_next_write(
    relay: Relay, redis: Redis
) -> None:
    async with missed_while_away(relay, redis) as writer:
        await writer.add([viewed("bob")])
        assert await read_person(redis, ANNA) == (None, [])
        base, delta = await read_person(redis, BOB)
        assert base == b"a base" and len(delta) == 1
        await write_base(redis, ANNA, b"built anew")
        await writer.add([viewed("bob")])
    assert (await read_person(redis, ANNA))[0] == b"built anew", "once is enough"


async def test_outdated_bases_are_dropped_without_further_events(relay: Relay, redis: Redis) -> None:
    async with missed_while_away(relay, redis) as writer:
        await writer.drop_outdated()
    assert (await read_person(redis, ANNA))[0] is None
    assert (await read_person(redis, BOB))[0] == b"a base"


async def test_when_too_many_people_were_missed_all_bases_are_dropped(
    relay: Relay, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_events, "MOST_MISSED", 0)
    async with missed_while_away(relay, redis) as writer:
        await writer.drop_outdated()
    assert (await read_person(redis, BOB))[0] is None
