"""The data of a person in Redis, and its lifetime."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from core.choices import Choices
from core.contract import Event, EventType, Person, read_event
from core.errors import StoreUnavailable
from db import cache
from db.cache import (
    add_recent,
    connect_redis,
    forget_bases,
    forget_people,
    pack_recent,
    person_keys,
    read_people,
    read_person,
    seen_digests,
    unpack_recent,
    write_base,
    write_choices,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
U1 = Person("user", "u1")


def make_event(received_at: datetime | None = NOW, **fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=received_at)


async def test_an_unknown_person_has_no_base_and_no_recent_events(redis: Redis) -> None:
    assert await read_person(redis, U1) == (None, [])


async def test_base_and_recent_events_are_read_together(redis: Redis) -> None:
    event = make_event()
    await write_base(redis, U1, b"base")
    await add_recent(redis, [event])
    assert await read_person(redis, U1) == (b"base", [pack_recent(event)])


async def test_adding_events_again_in_any_order_changes_nothing(redis: Redis) -> None:
    events = [make_event(NOW + timedelta(seconds=n), id=f"e{n}", occurredAt=NOW) for n in range(10)]
    await add_recent(redis, events)
    once = await read_person(redis, U1)
    await add_recent(redis, events[::-1])
    await add_recent(redis, events[3:5])
    assert await read_person(redis, U1) == once


async def test_the_delta_keeps_the_events_received_last_however_old_they_are(redis: Redis) -> None:
    events = [
        make_event(NOW + timedelta(seconds=n), id=f"e{n}", occurredAt=NOW - timedelta(days=n))
        for n in range(cache.DELTA_LENGTH + 10)
    ]
    await add_recent(redis, events)
    _, delta = await read_person(redis, U1)
    assert delta == [pack_recent(event) for event in events[10:]]


async def test_an_event_that_comes_late_is_after_those_that_came_before(redis: Redis) -> None:
    events = [make_event(NOW + timedelta(seconds=n), id=f"e{n}", occurredAt=NOW) for n in (5, 7, 7, 6, 5, 1, 8)]
    for number, event in enumerate(events):
        await add_recent(redis, [event])
        _, delta = await read_person(redis, U1)
        assert delta == list(dict.fromkeys(map(pack_recent, events[: number + 1])))


async def test_an_event_that_is_older_than_a_full_delta_is_not_added(redis: Redis) -> None:
    full = [make_event(NOW + timedelta(seconds=n), id=f"e{n}", occurredAt=NOW) for n in range(cache.DELTA_LENGTH)]
    await add_recent(redis, full)
    _, before = await read_person(redis, U1)
    await add_recent(redis, [make_event(NOW - timedelta(seconds=1), id="late", occurredAt=NOW)])
    assert (await read_person(redis, U1))[1] == before


async def test_events_that_every_base_includes_leave_the_delta(redis: Redis) -> None:
    old, new = make_event(NOW), make_event(NOW + timedelta(seconds=cache.DELTA_TTL + 1))
    await add_recent(redis, [old])
    await add_recent(redis, [new])
    assert (await read_person(redis, U1))[1] == [pack_recent(new)]


async def test_the_delta_outlives_the_base(redis: Redis) -> None:
    await write_base(redis, U1, b"base")
    await add_recent(redis, [make_event()])
    keys = person_keys(U1)
    assert 0 < await redis.ttl(keys.base) <= cache.BASE_TTL < await redis.ttl(keys.delta) <= cache.DELTA_TTL


async def test_each_person_has_their_own_recent_events(redis: Redis) -> None:
    mine, theirs = make_event(userId="u1"), make_event(userId=None, anonymousId="u1")
    await add_recent(redis, [mine, theirs])
    assert (await read_person(redis, U1))[1] == [pack_recent(mine)]
    assert (await read_person(redis, Person("guest", "u1")))[1] == [pack_recent(theirs)]


async def test_loaded_history_is_not_added_to_the_recent_events(redis: Redis) -> None:
    await add_recent(redis, [make_event(None)])
    assert await redis.dbsize() == 0


async def test_bases_are_forgotten_and_recent_events_kept(redis: Redis) -> None:
    for n in range(2500):
        await write_base(redis, Person("user", str(n)), b"base")
    await add_recent(redis, [make_event()])
    assert await forget_bases(redis) == 2500
    assert await redis.keys("person:*") == [person_keys(U1).delta.encode()]


async def test_a_seen_event_is_remembered_with_its_body(redis: Redis) -> None:
    first, other = make_event(id="e1", occurredAt=NOW), make_event(id="e2", occurredAt=NOW)
    await add_recent(redis, [], [first])
    assert await seen_digests(redis, [other.identity, first.identity]) == [None, first.digest]
    assert await seen_digests(redis, []) == []


async def test_scripts_are_sent_again_after_redis_lost_them(redis: Redis) -> None:
    await add_recent(redis, [make_event()])
    await redis.script_flush()
    second = make_event()
    await add_recent(redis, [second], [second])
    assert len((await read_person(redis, U1))[1]) == 2
    assert await seen_digests(redis, [second.identity]) == [second.digest]


def test_a_packed_event_is_read_back() -> None:
    event = make_event(type="PURCHASE", itemId="🛒", quantity=3, unitPrice="1.25", orderId="o1", occurredAt=NOW)
    assert unpack_recent(pack_recent(event)) == (
        event.identity,
        list(EventType).index(EventType.PURCHASE),
        int(NOW.timestamp()),
        3,
        375,
        event.order,
        "🛒",
    )
    assert unpack_recent(pack_recent(make_event(type="SEARCH", itemId=None, query="tea"))).item_id == ""


def test_a_damaged_packed_event_raises_an_error() -> None:
    with pytest.raises(struct.error):
        unpack_recent(b"short")


def test_keys_do_not_show_the_id_and_share_one_slot() -> None:
    keys = person_keys(Person("user", "anna@example.com"))
    (slot,) = {key.split(":")[1] for key in keys}
    assert slot.startswith("{") and "anna" not in "".join(keys)


async def test_bases_written_by_another_run_of_the_server_are_dropped(redis: Redis, redis_url: str) -> None:
    async with connect_redis(redis_url) as first:
        await write_base(first, U1, b"base")
        await add_recent(first, [make_event()])
    async with connect_redis(redis_url) as again:
        assert (await read_person(again, U1))[0] == b"base"
    await redis.set(cache.LINEAGE, "the run before a crash")
    for n in range(1500):
        await write_base(redis, Person("user", f"u{n}"), b"as of a snapshot")
    async with connect_redis(redis_url) as after:
        base, delta = await read_person(after, U1)
        assert base is None and len(delta) == 1
        assert await forget_bases(after) == 0
        await write_base(after, U1, b"built anew")
    async with connect_redis(redis_url) as again:
        assert (await read_person(again, U1))[0] == b"built anew"


async def test_the_newest_choices_stand_before_a_base_whoever_writes_last(redis: Redis) -> None:
    old, new = Choices(("i1",), version=3), Choices(("i1", "i2"), version=4)
    await write_choices(redis, U1, new)
    assert await read_person(redis, U1) == (new.pack(), [])
    await write_choices(redis, U1, old)
    await write_base(redis, U1, old.pack() + b"base")
    assert (await read_person(redis, U1))[0] == new.pack() + b"base"
    assert (await read_people(redis, [U1]))[0][0] == new.pack() + b"base"
    keys = person_keys(U1)
    assert await redis.ttl(keys.base) <= cache.BASE_TTL < await redis.ttl(keys.choices) <= cache.CHOICES_TTL
    await redis.delete(keys.choices)
    assert (await read_person(redis, U1))[0] == old.pack() + b"base"
    newest = Choices(version=2**40)
    await write_choices(redis, U1, newest)
    assert (await read_person(redis, U1))[0] == newest.pack(), "the base without them is gone"
    await write_base(redis, U1, old.pack() + b"base")
    assert (await read_person(redis, U1))[0] == newest.pack() + b"base"
    await write_choices(redis, U1, new)
    assert (await read_person(redis, U1))[0] == newest.pack() + b"base", "an older choice drops nothing"
    assert await forget_people(redis, [U1]) == 2


async def test_choices_written_by_another_run_of_the_server_are_dropped(redis: Redis, redis_url: str) -> None:
    async with connect_redis(redis_url) as first:
        await write_choices(first, U1, Choices(("i1",), version=1))
        assert (await read_person(first, U1))[0] is not None
    await redis.set(cache.LINEAGE, "the run before a crash")
    async with connect_redis(redis_url) as after:
        assert (await read_person(after, U1))[0] is None


async def test_a_read_raises_at_once_while_redis_is_away() -> None:
    async with connect_redis("redis://127.0.0.1:1/0", 0.2) as away:
        with pytest.raises(StoreUnavailable):
            await read_person(away, U1)


async def test_every_call_raises_while_redis_is_away() -> None:
    async with connect_redis("redis://127.0.0.1:1/0", 0.2) as away:
        for call in (
            write_base(away, U1, b"base"),
            add_recent(away, [make_event()]),
            cache.seen_digests(away, [1]),
            cache.forget_people(away, [U1]),
            cache.await_hint(away.pubsub(), 0.1),
        ):
            with pytest.raises(StoreUnavailable, match="Redis did not answer") as raised:
                await call
            assert raised.value.store == "redis"
        await cache.hint_serving(away)


async def test_a_command_that_redis_refuses_is_unavailable_and_a_lost_script_is_sent_again(
    redis: Redis, redis_url: str
) -> None:
    async with connect_redis(redis_url) as client:
        await client.set(person_keys(U1).delta, b"not a sorted set")
        with pytest.raises(StoreUnavailable):
            await read_person(client, U1)
        await client.flushdb()
        await client.script_flush()
        await add_recent(client, [make_event()])
        assert len((await read_person(client, U1))[1]) == 1
