"""The way in for events: what each call is told, what leaves for the broker, what happens when a store is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus import topology
from bus.publisher import Broker, events_body, publish_events
from core import clock
from core.contract import Person
from core.errors import Overloaded, StoreUnavailable, TooManyElements
from core.settings import Ingest as IngestSettings
from core.settings import Stores
from db.cache import connect_redis, read_person, unpack_recent, write_base
from db.outbox import count_envelopes, keep_envelope
from db.postgres import connect_pool
from engine.intake import ingest as ingest_module
from engine.intake.ingest import Ingest
from engine.outcomes import Outcome, Result
from engine.viewer import Viewer
from tests.faults import Relay, eventually

VIEW = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
U1 = Person("user", "u1")
SHOP = Viewer("shop", frozenset({"events:write", "orders:write"}), None, 2**31)
ANNA = Viewer("shop", frozenset({"events:write"}), Person("user", "anna"), 2**31)
GUEST = Viewer("shop", frozenset({"events:write"}), Person("guest", "g1"), 2**31)

Open = Callable[..., Awaitable[Ingest]]


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    topology.declare(broker_url)
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(topology.EVENTS.name)).purge()
        yield channel


@pytest.fixture
async def open_ingest(stores: Stores) -> AsyncIterator[Open]:
    """Opens the way in, by way of other addresses where they are given."""
    async with AsyncExitStack() as stack:

        async def opened(
            broker_url: str | None = None,
            pool: asyncpg.Pool | None = None,
            redis_url: str | None = None,
            **settings: Any,
        ) -> Ingest:
            if pool is None:
                pool = await stack.enter_async_context(await connect_pool(stores.postgres_url.get_secret_value()))
            redis = connect_redis(redis_url or stores.redis_url.get_secret_value())
            stack.push_async_callback(redis.aclose)
            chosen = IngestSettings.model_validate({"confirm_timeout": 2, **settings})
            broker = Broker(broker_url or stores.broker_url.get_secret_value(), chosen.confirm_timeout)
            stack.push_async_callback(broker.close)
            ingest = Ingest(chosen, pool, redis, broker)
            ingest.open()
            stack.push_async_callback(ingest.close)
            return ingest

        yield opened


@pytest.fixture
async def ingest(open_ingest: Open, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel) -> Ingest:
    return await open_ingest(pool=pool)


async def batches(channel: AbstractChannel) -> dict[str, list[dict[str, Any]]]:
    """What waits in the queue: task id -> events."""
    queue, found = await channel.get_queue(topology.EVENTS.name), {}
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        found[str(message.headers["id"])] = json.loads(json.loads(message.body)[0][0])
    return found


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


def named(id: str, **fields: Any) -> dict[str, Any]:
    return {**VIEW, "id": id, "occurredAt": clock.now().replace(microsecond=0).isoformat(), **fields}


async def test_an_accepted_event_is_in_the_queue_and_known_to_the_next_answer(
    ingest: Ingest, channel: AbstractChannel, redis: Redis
) -> None:
    (result,) = await ingest.track(SHOP, [{**VIEW, "itemId": "nobody uploaded it"}])
    _, delta = await read_person(redis, U1)
    ((told,),) = (await batches(channel)).values()
    assert result.outcome is Outcome.ACCEPTED and result.id == told["id"] and told["source"] == "shop"
    assert [unpack_recent(member).item_id for member in delta] == ["nobody uploaded it"]


async def test_bad_events_are_rejected_by_place_and_field_and_good_neighbours_accepted(
    ingest: Ingest, channel: AbstractChannel
) -> None:
    results = await ingest.track(SHOP, [VIEW, {**VIEW, "quantity": -1}, {"id": "x" * 10_000}, VIEW])
    assert outcomes(results) == ["ACCEPTED", "REJECTED", "REJECTED", "ACCEPTED"]
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert (results[1].code, results[1].field) == ("BAD_USER_INPUT", ["quantity"])
    assert results[2].id is None, "ten thousand characters are not repeated"
    assert [len(events) for events in (await batches(channel)).values()] == [2]


async def test_the_same_again_is_a_duplicate_and_another_body_a_conflict(
    ingest: Ingest, channel: AbstractChannel
) -> None:
    event = named("e1")
    assert outcomes(await ingest.track(SHOP, [event])) == ["ACCEPTED"]
    assert outcomes(await ingest.track(SHOP, [event, {**event, "itemId": "i2"}, named("e2")])) == [
        "DUPLICATE",
        "CONFLICT",
        "ACCEPTED",
    ]
    other_sender = Viewer("other", SHOP.scopes, None, SHOP.expires_at)
    assert outcomes(await ingest.track(other_sender, [event])) == ["ACCEPTED"], "ids belong to their source"
    assert sum(map(len, (await batches(channel)).values())) == 3


async def test_repetition_inside_one_call_is_seen_too(ingest: Ingest, channel: AbstractChannel) -> None:
    event = named("e1")
    assert outcomes(await ingest.track(SHOP, [event, event, {**event, "itemId": "i2"}])) == [
        "ACCEPTED",
        "DUPLICATE",
        "CONFLICT",
    ]
    assert sum(map(len, (await batches(channel)).values())) == 1


async def test_events_without_ids_are_facts_however_alike(ingest: Ingest, channel: AbstractChannel) -> None:
    assert outcomes(await ingest.track(SHOP, [VIEW] * 3)) == ["ACCEPTED"] * 3
    ((told),) = (await batches(channel)).values()
    assert len({event["id"] for event in told}) == 3


@pytest.mark.parametrize(
    ("viewer", "fields"),
    [
        (ANNA, {"userId": "u1"}),
        (GUEST, {"userId": "u1"}),
        (GUEST, {"userId": None, "anonymousId": "g2"}),
        (GUEST, {"userId": "u1", "anonymousId": "g1"}),
        (ANNA, {"userId": "anna", "source": "till"}),
    ],
)
async def test_a_token_speaks_for_its_own_person_only(ingest: Ingest, viewer: Viewer, fields: dict[str, Any]) -> None:
    (result,) = await ingest.track(viewer, [{**VIEW, **fields}])
    assert (result.outcome, result.code) == (Outcome.REJECTED, "NOT_YOURS")


async def test_a_persons_own_events_need_not_name_them(ingest: Ingest, redis: Redis, channel: AbstractChannel) -> None:
    anonymous = {"type": "VIEW", "itemId": "i1"}
    for viewer in (ANNA, GUEST):
        assert outcomes(await ingest.track(viewer, [anonymous])) == ["ACCEPTED"]
        assert viewer.person is not None
        assert len((await read_person(redis, viewer.person))[1]) == 1


async def test_orders_need_their_own_scope(ingest: Ingest, channel: AbstractChannel) -> None:
    results = await ingest.track(
        ANNA,
        [{"type": "PURCHASE", "itemId": "i1"}, {"type": "RETURN", "itemId": "i1"}, {"type": "LIKE", "itemId": "i1"}],
    )
    assert outcomes(results) == ["REJECTED", "REJECTED", "ACCEPTED"]
    assert results[0].code == "FORBIDDEN" and "PURCHASE" in str(results[0].message) and results[0].field == ["type"]
    assert outcomes(await ingest.track(SHOP, [{**VIEW, "type": "PURCHASE"}])) == ["ACCEPTED"]


async def test_five_hundred_events_are_a_call_and_one_more_is_too_many(
    ingest: Ingest, channel: AbstractChannel
) -> None:
    assert outcomes(await ingest.track(SHOP, [VIEW] * 500)) == ["ACCEPTED"] * 500
    with pytest.raises(TooManyElements):
        await ingest.track(SHOP, [VIEW] * 501)
    assert await ingest.track(SHOP, []) == []


async def test_many_small_calls_leave_in_few_messages(ingest: Ingest, channel: AbstractChannel) -> None:
    await ingest.track(SHOP, [VIEW])  # the connection is open
    await batches(channel)
    calls = [ingest.track(SHOP, [VIEW]) for _ in range(200)]
    assert all(outcomes(results) == ["ACCEPTED"] for results in await asyncio.gather(*calls))
    sizes = [len(events) for events in (await batches(channel)).values()]
    assert sum(sizes) == 200 and len(sizes) <= 3


async def test_no_message_is_larger_than_allowed_and_calls_keep_together(
    open_ingest: Open, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel
) -> None:
    ingest = await open_ingest(pool=pool)
    await asyncio.gather(*(ingest.track(SHOP, [{**VIEW, "sessionId": f"s{n}"}] * 150) for n in range(10)))
    found = (await batches(channel)).values()
    assert sum(map(len, found)) == 1500 and max(map(len, found)) <= 500
    assert all(len(events) % 150 == 0 for events in found)


async def test_more_than_may_wait_is_told_to_come_again(
    open_ingest: Open, pool: asyncpg.Pool, redis: Redis, broker_url: str
) -> None:
    relay = Relay(broker_url)
    ingest = await open_ingest(await relay.open(mute=True), pool, max_waiting=500, confirm_timeout=1)
    first = asyncio.create_task(ingest.track(SHOP, [VIEW] * 400))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ingest.track(SHOP, [VIEW] * 200)
    assert outcomes(await first) == ["ACCEPTED"] * 400, "the outbox took it when the broker did not"
    assert outcomes(await ingest.track(SHOP, [VIEW] * 200)) == ["ACCEPTED"] * 200
    await relay.close()


async def test_while_the_broker_is_away_the_outbox_takes_it_and_is_emptied_under_the_same_ids(
    open_ingest: Open, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel, broker_url: str
) -> None:
    relay = Relay(broker_url)
    ingest = await open_ingest(await relay.reserve(), pool)
    event = named("e1")
    assert outcomes(await ingest.track(SHOP, [event, VIEW])) == ["ACCEPTED", "ACCEPTED"]
    assert outcomes(await ingest.track(SHOP, [event])) == ["DUPLICATE"]
    assert len((await read_person(redis, U1))[1]) == 2, "the next answer knows"
    kept = await pool.fetch("SELECT task_id FROM outbox")
    await relay.open()

    async def emptied() -> bool:
        return await count_envelopes(pool) == 0

    await eventually(emptied)
    found = await batches(channel)
    assert set(found) == {str(row["task_id"]) for row in kept}
    assert [event["itemId"] for event in found.popitem()[1]] == ["i1", "i1"]
    await relay.close()


async def test_a_parcel_that_the_broker_refuses_keeps_no_other_back(
    open_ingest: Open,
    pool: asyncpg.Pool,
    redis: Redis,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, taken = uuid4(), uuid4()

    async def publish(broker: Broker, task_id: UUID, body: bytes) -> None:
        if task_id == refused:
            raise StoreUnavailable("broker", "It is too large.")
        await publish_events(broker, task_id, body)

    for task_id in (refused, taken):
        await keep_envelope(pool, task_id, events_body([]))
    monkeypatch.setattr(ingest_module, "publish_events", publish)
    await open_ingest(pool=pool)

    async def only_one_waits() -> bool:
        return [row["task_id"] for row in await pool.fetch("SELECT task_id FROM outbox")] == [refused]

    await eventually(only_one_waits)
    assert set(await batches(channel)) == {str(taken)}


async def test_when_neither_broker_nor_postgres_is_there_it_is_retry_and_the_retry_succeeds(
    open_ingest: Open, stores: Stores, redis: Redis, pool: asyncpg.Pool, channel: AbstractChannel, broker_url: str
) -> None:
    to_broker, to_postgres = Relay(broker_url), Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await to_postgres.open(), size=2, timeout=1) as own_pool:
        ingest = await open_ingest(await to_broker.reserve(), own_pool)
        await to_postgres.close()
        event = named("e1")
        results = await ingest.track(SHOP, [event, event, VIEW])
        assert outcomes(results) == ["RETRY"] * 3 and results[0].code == "SERVICE_UNAVAILABLE"
        assert (await read_person(redis, U1))[1] == [], "nobody is told of what is not safe"
        await to_broker.open()
        await to_postgres.open()

        async def taken() -> bool:
            return outcomes(await ingest.track(SHOP, [event])) == ["ACCEPTED"]

        await eventually(taken)
        assert outcomes(await ingest.track(SHOP, [event])) == ["DUPLICATE"]
        await ingest.close()
    await to_broker.close()
    await to_postgres.close()


async def test_redis_away_stops_nothing(open_ingest: Open, pool: asyncpg.Pool, channel: AbstractChannel) -> None:
    ingest = await open_ingest(pool=pool, redis_url="redis://127.0.0.1:1/0")
    event = named("e1")
    for _ in range(2):
        assert outcomes(await ingest.track(SHOP, [event])) == ["ACCEPTED"], "without the hint the worker finds it out"
    assert sum(map(len, (await batches(channel)).values())) == 2


async def test_whom_redis_missed_an_event_is_built_anew_when_it_is_back_though_no_more_events_come(
    open_ingest: Open,
    pool: asyncpg.Pool,
    redis: Redis,
    redis_url: str,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.intake.ingest.SELDOM", 0.1)
    relay = Relay(redis_url)
    ingest = await open_ingest(pool=pool, redis_url=await relay.reserve())
    await write_base(redis, U1, b"as of before")
    assert outcomes(await ingest.track(SHOP, [VIEW])) == ["ACCEPTED"]
    assert (await read_person(redis, U1))[0] == b"as of before"
    await relay.open()

    async def dropped() -> bool:
        return (await read_person(redis, U1))[0] is None

    await eventually(dropped)
    await relay.close()


async def test_a_caller_that_goes_away_takes_nobody_along(ingest: Ingest, channel: AbstractChannel) -> None:
    gone = asyncio.create_task(ingest.track(SHOP, [VIEW]))
    await asyncio.sleep(0)
    staying = asyncio.create_task(ingest.track(SHOP, [VIEW]))
    await asyncio.sleep(0)
    gone.cancel()
    assert outcomes(await staying) == ["ACCEPTED"]


async def test_closing_sends_what_waits(
    open_ingest: Open, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel
) -> None:
    ingest = await open_ingest(pool=pool, linger=0.2)
    waiting = asyncio.create_task(ingest.track(SHOP, [VIEW] * 3))
    await asyncio.sleep(0)
    await ingest.close()
    assert outcomes(await waiting) == ["ACCEPTED"] * 3
    assert sum(map(len, (await batches(channel)).values())) == 3
