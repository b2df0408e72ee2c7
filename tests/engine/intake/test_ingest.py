"""Intake of events: the result of each event, the batches the broker gets, and what happens while a store is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis
from structlog.testing import capture_logs

from bus.envelope import Envelope, Kind
from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Person
from core.errors import Overloaded, StoreUnavailable, TooManyElements
from core.settings import Ingest as IngestSettings
from core.settings import Stores
from db.cache import connect_redis, read_person, unpack_recent, write_base
from db.outbox import count_envelopes
from db.postgres import Pool, connect_pool
from db.tombstones import ensure_key, insert_tombstones
from engine.intake.ingest import EventIntake
from engine.intake.outbox import keep_in_outbox
from engine.outcomes import Outcome, Result
from engine.viewer import Viewer
from tests.faults import Relay, eventually

VIEW = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
U1 = Person("user", "u1")
SHOP = Viewer("shop", frozenset({"events:write", "orders:write"}), None, 2**31)
ANNA = Viewer("shop", frozenset({"events:write"}), Person("user", "anna"), 2**31)
GUEST = Viewer("shop", frozenset({"events:write"}), Person("guest", "g1"), 2**31)

Open = Callable[..., Awaitable[EventIntake]]


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    topology.declare(broker_url)
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(topology.EVENTS.name)).purge()
        yield channel


@pytest.fixture
async def open_ingest(stores: Stores) -> AsyncIterator[Open]:
    """Opens an intake, with other addresses of the stores where they are given."""
    async with AsyncExitStack() as stack:

        async def opened(
            broker_url: str | None = None,
            pool: Pool | None = None,
            redis_url: str | None = None,
            **settings: Any,
        ) -> EventIntake:
            if pool is None:
                pool = await connect_pool(stores.postgres_url.get_secret_value())
                stack.push_async_callback(pool.close)
            redis = connect_redis(redis_url or stores.redis_url.get_secret_value())
            stack.push_async_callback(redis.aclose)
            chosen = IngestSettings.model_validate({"confirm_timeout": 2, **settings})
            broker = RabbitPublisher(broker_url or stores.broker_url.get_secret_value(), chosen.confirm_timeout)
            stack.push_async_callback(broker.close)
            ingest = EventIntake(chosen, pool, redis, broker)
            ingest.open()
            stack.push_async_callback(ingest.close)
            return ingest

        yield opened


@pytest.fixture
async def ingest(open_ingest: Open, pool: Pool, redis: Redis, channel: AbstractChannel) -> EventIntake:
    return await open_ingest(pool=pool)


async def batches(channel: AbstractChannel) -> dict[str, list[dict[str, Any]]]:
    """The batches that wait in the queue, by task id."""
    queue, found = await channel.get_queue(topology.EVENTS.name), {}
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        found[str(message.headers["id"])] = json.loads(json.loads(message.body)[0][0])
    return found


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


def named(id: str, **fields: Any) -> dict[str, Any]:
    return {**VIEW, "id": id, "occurredAt": clock.now().replace(microsecond=0).isoformat(), **fields}


async def test_an_accepted_event_is_in_the_queue_and_in_the_recent_events(
    ingest: EventIntake, channel: AbstractChannel, redis: Redis
) -> None:
    (result,) = await ingest.track(SHOP, [{**VIEW, "itemId": "never uploaded"}])
    _, delta = await read_person(redis, U1)
    ((queued,),) = (await batches(channel)).values()
    assert result.outcome is Outcome.ACCEPTED and result.id == queued["id"] and queued["source"] == "shop\x1fshop"
    assert [unpack_recent(member).item_id for member in delta] == ["never uploaded"]


async def test_invalid_events_are_rejected_with_index_and_field_and_the_valid_ones_accepted(
    ingest: EventIntake, channel: AbstractChannel
) -> None:
    results = await ingest.track(SHOP, [VIEW, {**VIEW, "quantity": -1}, {"id": "x" * 10_000}, VIEW])
    assert outcomes(results) == ["ACCEPTED", "REJECTED", "REJECTED", "ACCEPTED"]
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert (results[1].code, results[1].field) == ("BAD_USER_INPUT", ["quantity"])
    assert results[2].id is None, "an invalid id is not repeated"
    assert [len(events) for events in (await batches(channel)).values()] == [2]


async def test_an_id_sent_again_is_a_duplicate_with_the_same_body_and_a_conflict_with_another(
    ingest: EventIntake, channel: AbstractChannel
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


async def test_an_id_that_repeats_inside_one_call_is_found_too(ingest: EventIntake, channel: AbstractChannel) -> None:
    event = named("e1")
    assert outcomes(await ingest.track(SHOP, [event, event, {**event, "itemId": "i2"}])) == [
        "ACCEPTED",
        "DUPLICATE",
        "CONFLICT",
    ]
    assert sum(map(len, (await batches(channel)).values())) == 1


async def test_equal_events_without_ids_are_all_kept(ingest: EventIntake, channel: AbstractChannel) -> None:
    assert outcomes(await ingest.track(SHOP, [VIEW] * 3)) == ["ACCEPTED"] * 3
    (events,) = (await batches(channel)).values()
    assert len({event["id"] for event in events}) == 3


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
async def test_a_persons_token_sends_events_of_that_person_only(
    ingest: EventIntake, viewer: Viewer, fields: dict[str, Any]
) -> None:
    (result,) = await ingest.track(viewer, [{**VIEW, **fields}])
    assert (result.outcome, result.code) == (Outcome.REJECTED, "NOT_YOURS")


async def test_an_event_sent_with_a_persons_token_gets_that_person(
    ingest: EventIntake, redis: Redis, channel: AbstractChannel
) -> None:
    anonymous = {"type": "VIEW", "itemId": "i1"}
    for viewer in (ANNA, GUEST):
        assert outcomes(await ingest.track(viewer, [anonymous])) == ["ACCEPTED"]
        assert viewer.person is not None
        assert len((await read_person(redis, viewer.person))[1]) == 1


async def test_purchases_and_returns_need_their_own_scope(ingest: EventIntake, channel: AbstractChannel) -> None:
    results = await ingest.track(
        ANNA,
        [{"type": "PURCHASE", "itemId": "i1"}, {"type": "RETURN", "itemId": "i1"}, {"type": "LIKE", "itemId": "i1"}],
    )
    assert outcomes(results) == ["REJECTED", "REJECTED", "ACCEPTED"]
    assert results[0].code == "FORBIDDEN" and "PURCHASE" in str(results[0].message) and results[0].field == ["type"]
    assert outcomes(await ingest.track(SHOP, [{**VIEW, "type": "PURCHASE"}])) == ["ACCEPTED"]


async def test_a_call_may_have_five_hundred_events_and_not_one_more(
    ingest: EventIntake, channel: AbstractChannel
) -> None:
    assert outcomes(await ingest.track(SHOP, [VIEW] * 500)) == ["ACCEPTED"] * 500
    with pytest.raises(TooManyElements):
        await ingest.track(SHOP, [VIEW] * 501)
    assert await ingest.track(SHOP, []) == []


async def test_many_small_calls_are_sent_in_few_batches(ingest: EventIntake, channel: AbstractChannel) -> None:
    await ingest.track(SHOP, [VIEW])  # opens the connection
    await batches(channel)
    calls = [ingest.track(SHOP, [VIEW]) for _ in range(200)]
    assert all(outcomes(results) == ["ACCEPTED"] for results in await asyncio.gather(*calls))
    sizes = [len(events) for events in (await batches(channel)).values()]
    assert sum(sizes) == 200 and len(sizes) <= 3


async def test_batches_are_bounded_and_do_not_split_a_call(
    open_ingest: Open, pool: Pool, redis: Redis, channel: AbstractChannel
) -> None:
    ingest = await open_ingest(pool=pool)
    await asyncio.gather(*(ingest.track(SHOP, [{**VIEW, "sessionId": f"s{n}"}] * 150) for n in range(10)))
    found = (await batches(channel)).values()
    assert sum(map(len, found)) == 1500 and max(map(len, found)) <= 500
    assert all(len(events) % 150 == 0 for events in found)


async def test_a_call_is_refused_while_too_many_events_wait(
    open_ingest: Open, pool: Pool, redis: Redis, broker_url: str
) -> None:
    relay = Relay(broker_url)
    ingest = await open_ingest(await relay.open(mute=True), pool, max_waiting=500, confirm_timeout=1)
    calls = [ingest.track(SHOP, [VIEW] * 400), ingest.track(SHOP, [VIEW] * 400)]
    taken, refused = sorted(
        await asyncio.gather(*calls, return_exceptions=True), key=lambda found: isinstance(found, Overloaded)
    )
    assert isinstance(taken, list)
    assert isinstance(refused, Overloaded)
    assert outcomes(taken) == ["ACCEPTED"] * 400, "the outbox takes what the broker does not confirm"
    assert outcomes(await ingest.track(SHOP, [VIEW] * 200)) == ["ACCEPTED"] * 200
    await relay.close()


async def test_while_the_broker_is_away_the_outbox_keeps_batches_and_sends_them_later_under_the_same_ids(
    open_ingest: Open, pool: Pool, redis: Redis, channel: AbstractChannel, broker_url: str
) -> None:
    relay = Relay(broker_url)
    ingest = await open_ingest(await relay.reserve(), pool)
    event = named("e1")
    assert outcomes(await ingest.track(SHOP, [event, VIEW])) == ["ACCEPTED", "ACCEPTED"]
    assert outcomes(await ingest.track(SHOP, [event])) == ["DUPLICATE"]
    assert len((await read_person(redis, U1))[1]) == 2, "the next answer uses them"
    kept = await pool.fetch("SELECT task_id FROM outbox")
    await relay.open()

    async def emptied() -> bool:
        return await count_envelopes(pool) == 0

    await eventually(emptied)
    found = await batches(channel)
    assert set(found) == {str(row["task_id"]) for row in kept}
    assert [event["itemId"] for event in found.popitem()[1]] == ["i1", "i1"]
    await relay.close()


async def test_an_envelope_that_the_broker_refuses_does_not_delay_the_others(
    open_ingest: Open,
    pool: Pool,
    redis: Redis,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, taken = uuid4(), uuid4()

    async def publish(publisher: RabbitPublisher, envelope: Envelope) -> None:
        if envelope.id == refused:
            raise StoreUnavailable("broker", "It is too large.")
        await as_before(publisher, envelope)

    for envelope_id in (refused, taken):
        await keep_in_outbox(
            pool, RabbitPublisher("amqp://nowhere/", 1), Envelope(kind=Kind.STORE_EVENTS, id=envelope_id, body=b"[]")
        )
    as_before = RabbitPublisher.publish
    monkeypatch.setattr(RabbitPublisher, "publish", publish)
    await open_ingest(pool=pool)

    async def only_one_waits() -> bool:
        return [row["task_id"] for row in await pool.fetch("SELECT task_id FROM outbox")] == [refused]

    await eventually(only_one_waits)
    assert set(await batches(channel)) == {str(taken)}


async def test_without_broker_and_postgres_the_outcome_is_retry_and_a_later_retry_succeeds(
    open_ingest: Open, stores: Stores, redis: Redis, pool: Pool, channel: AbstractChannel, broker_url: str
) -> None:
    to_broker, to_postgres = Relay(broker_url), Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await to_postgres.open(), size=2, timeout=1) as own_pool:
        ingest = await open_ingest(await to_broker.reserve(), own_pool)
        await to_postgres.close()
        event = named("e1")
        results = await ingest.track(SHOP, [event, event, VIEW])
        assert outcomes(results) == ["RETRY"] * 3 and results[0].code == "SERVICE_UNAVAILABLE"
        assert (await read_person(redis, U1))[1] == [], "Redis gets no event that no store holds"
        await to_broker.open()
        await to_postgres.open()

        async def taken() -> bool:
            return outcomes(await ingest.track(SHOP, [event])) == ["ACCEPTED"]

        await eventually(taken)
        assert outcomes(await ingest.track(SHOP, [event])) == ["DUPLICATE"]
        await ingest.close()
    await to_broker.close()
    await to_postgres.close()


async def test_without_redis_events_are_accepted(open_ingest: Open, pool: Pool, channel: AbstractChannel) -> None:
    ingest = await open_ingest(pool=pool, redis_url="redis://127.0.0.1:1/0")
    event = named("e1")
    for _ in range(2):
        assert outcomes(await ingest.track(SHOP, [event])) == ["ACCEPTED"], (
            "without the hint, the worker finds the duplicate"
        )
    assert sum(map(len, (await batches(channel)).values())) == 2


async def test_the_base_of_a_person_whose_event_redis_missed_is_dropped_once_redis_is_back(
    open_ingest: Open,
    pool: Pool,
    redis: Redis,
    redis_url: str,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.intake.ingest.CATCH_UP_INTERVAL", 0.1)
    monkeypatch.setattr("engine.intake.accepted.REDIS_PAUSE", 0.1)
    relay = Relay(redis_url)
    ingest = await open_ingest(pool=pool, redis_url=await relay.reserve())
    await write_base(redis, U1, b"as of before")
    with capture_logs() as logs:
        assert outcomes(await ingest.track(SHOP, [VIEW])) == ["ACCEPTED"]

        async def tried_again_while_away() -> bool:
            return len([line for line in logs if line["event"] == "store_unavailable"]) >= 2

        await eventually(tried_again_while_away)
    assert (await read_person(redis, U1))[0] == b"as of before"
    await relay.open()

    async def dropped() -> bool:
        return (await read_person(redis, U1))[0] is None

    await eventually(dropped)
    await relay.close()


async def test_while_postgres_is_away_events_of_erased_people_are_left_to_the_worker(
    open_ingest: Open, stores: Stores, redis: Redis, pool: Pool, channel: AbstractChannel
) -> None:
    await ensure_key(pool)
    await insert_tombstones(pool, [U1], clock.now())
    old = {**VIEW, "occurredAt": (clock.now() - timedelta(hours=1)).isoformat()}
    relay = Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await relay.open(), size=2, timeout=1) as own_pool:
        ingest = await open_ingest(pool=own_pool)
        ingest.remember_erasure(clock.now())
        (kept_out,) = await ingest.track(SHOP, [old])
        assert (kept_out.outcome, kept_out.code) == (Outcome.REJECTED, "NOT_KEPT")
        await relay.close()
        assert outcomes(await ingest.track(SHOP, [old])) == ["ACCEPTED"]
        await ingest.close()


async def test_a_cancelled_call_does_not_affect_the_others(ingest: EventIntake, channel: AbstractChannel) -> None:
    cancelled = asyncio.create_task(ingest.track(SHOP, [VIEW]))
    await asyncio.sleep(0)
    staying = asyncio.create_task(ingest.track(SHOP, [VIEW]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert outcomes(await staying) == ["ACCEPTED"]


async def test_close_sends_what_still_waits(
    open_ingest: Open, pool: Pool, redis: Redis, channel: AbstractChannel
) -> None:
    ingest = await open_ingest(pool=pool, linger=0.2)
    waiting = asyncio.create_task(ingest.track(SHOP, [VIEW] * 3))
    await asyncio.sleep(0)
    await ingest.close()
    assert outcomes(await waiting) == ["ACCEPTED"] * 3
    assert sum(map(len, (await batches(channel)).values())) == 3
