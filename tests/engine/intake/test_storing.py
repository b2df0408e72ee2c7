"""Events from the queue to the stores: a real broker, a real Celery worker, a real Postgres and Redis."""

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel
from kombu.entity import Queue
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from bus.messages import store_events
from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import Event, Person, read_event
from core.errors import StoreUnavailable
from core.settings import Stores
from db.cache import pack_recent, read_person, write_base
from db.events import events_of_person
from db.postgres import Pool
from engine.intake.reading import read_batch
from engine.intake.storing import store
from tests.faults import Relay, eventually
from tests.fixtures.worker import StartWorker
from workers.process import Connections

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
U1 = Person("user", "u1")


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


async def count(pool: Pool) -> int:
    stored: int = await pool.fetchval("SELECT count(*) FROM events")
    return stored


async def waiting(channel: AbstractChannel, queue: Queue) -> int:
    declared = await channel.declare_queue(queue.name, passive=True)
    return declared.declaration_result.message_count or 0


async def test_a_published_batch_reaches_postgres_and_redis(
    broker: RabbitPublisher, pool: Pool, redis: Redis, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    start_worker()
    events = [make_event(properties={"n": n, "nested": {"__type__": "nobody's", "__value__": 1}}) for n in range(3)]
    await broker.publish(store_events(events))

    async def all_recent() -> bool:
        return len((await read_person(redis, U1))[1]) == 3

    await eventually(all_recent)
    assert {event.id: event for event in await events_of_person(pool, U1)} == {event.id: event for event in events}
    assert sorted((await read_person(redis, U1))[1]) == sorted(pack_recent(event) for event in events)
    assert await waiting(channel, topology.EVENTS) == 0


async def test_a_batch_that_is_delivered_again_changes_nothing(
    broker: RabbitPublisher, pool: Pool, redis: Redis, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    events, last = [make_event() for _ in range(50)], make_event(itemId="last")
    envelope = store_events(events)
    for _ in range(3):
        await broker.publish(envelope)
    await broker.publish(store_events([*events[::-1], last]))
    start_worker()

    async def all_recent() -> bool:
        return pack_recent(last) in (await read_person(redis, U1))[1]

    await eventually(all_recent)
    assert await count(pool) == 51
    assert len((await read_person(redis, U1))[1]) == 51


def test_a_batch_of_an_earlier_release_is_read_although_the_contract_refuses_it_now() -> None:
    head = '"source":"shop","occurredAt":"2026-03-01T11:00:00Z","receivedAt":"2026-03-01T12:00:00Z"'
    text = (
        f'[{{"id":"e1","type":"PURCHASE","userId":"u1","itemId":"i1","orderId":"o1","quantity":2,"unitPrice":"1E+3",'
        f'"currency":"EUR","properties":{{"a":null}},{head}}},'
        f'{{"id":"e2","type":"SEARCH","anonymousId":"g1",{head}}}]'
    )
    bought, searched = read_batch(text).events
    assert (bought.cents, bought.currency, bought.properties) == (200_000, "EUR", {"a": None})
    assert (searched.person, searched.query, searched.received_at) == (Person("guest", "g1"), None, NOW)


def test_the_error_about_an_unreadable_batch_repeats_nothing_of_it() -> None:
    with pytest.raises(ValidationError) as refusal:
        read_batch('[{"id": "confidential", "properties": ' + '{"a": ' * 300)
    assert "confidential" not in str(refusal.value)


async def test_while_postgres_is_away_the_batch_waits_inside_the_task(stores: Stores, pool: Pool, redis: Redis) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    connections = Connections(stores.model_copy(update={"postgres_url": SecretStr(await relay.reserve())}))
    storing = asyncio.create_task(store(connections, [make_event()], timeout=20))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(storing), 0.3)
    await relay.open()
    assert await storing == 1
    await relay.close()
    storing = asyncio.create_task(
        store(connections, [make_event()], timeout=20)
    )  # its pooled connection is closed by now
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(storing), 0.3)
    await relay.open()
    assert await storing == 1 and await count(pool) == 2
    await connections.close()
    await relay.close()


async def test_storing_gives_up_after_its_timeout(stores: Stores) -> None:
    away = Connections(stores.model_copy(update={"postgres_url": SecretStr("postgresql://nobody@127.0.0.1:1/none")}))
    with pytest.raises(StoreUnavailable):
        await store(away, [make_event()], timeout=0.3)
    await away.close()


async def test_a_batch_that_timed_out_is_sent_again_as_a_new_message_and_never_dead_lettered(
    stores: Stores,
    broker: RabbitPublisher,
    pool: Pool,
    channel: AbstractChannel,
    start_worker: StartWorker,
    worker_log: Path,
) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    start_worker(
        "import engine.intake.storing; engine.intake.storing.STORE_TIMEOUT = 0.1",
        PENCHANT_POSTGRES_URL=await relay.reserve(),
    )
    await broker.publish(store_events([make_event()]))

    async def sent_again_more_often_than_the_queue_delivers() -> bool:
        return worker_log.read_text().count("batch_sent_again") > 6  # noqa: ASYNC240 -- small and local

    await eventually(sent_again_more_often_than_the_queue_delivers)
    await relay.open()

    async def stored() -> bool:
        return await count(pool) == 1

    await eventually(stored)
    assert await waiting(channel, topology.DEAD_LETTERS) == 0
    await relay.close()


async def test_events_are_stored_while_redis_is_away(stores: Stores, pool: Pool) -> None:
    connections = Connections(stores.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}))
    assert await store(connections, [make_event()], timeout=0) == 1
    assert await count(pool) == 1
    await connections.close()


async def test_people_whose_event_redis_missed_are_rebuilt_when_it_is_back(
    stores: Stores, pool: Pool, redis: Redis
) -> None:
    relay = Relay(stores.redis_url.get_secret_value())
    connections = Connections(stores.model_copy(update={"redis_url": SecretStr(await relay.reserve())}))
    await write_base(redis, U1, b"as of before")
    await store(connections, [make_event()], timeout=0)
    await relay.open()
    await store(connections, [make_event(userId="u2")], timeout=0)
    assert await read_person(redis, U1) == (None, []), "it would not count the event for as long as it lives"
    await connections.close()
    await relay.close()


async def test_a_killed_worker_loses_nothing_and_stores_nothing_twice(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    batches = [[make_event() for _ in range(20)] for _ in range(60)]
    for batch in batches:
        await broker.publish(store_events(batch))
    worker = start_worker()

    async def some_stored() -> bool:
        return await count(pool) > 0

    await eventually(some_stored)
    worker.send_signal(signal.SIGKILL)
    start_worker()

    async def all_stored() -> bool:
        return await count(pool) == 1200 and await waiting(channel, topology.EVENTS) == 0

    await eventually(all_stored)
    assert await waiting(channel, topology.DEAD_LETTERS) == 0


@pytest.mark.chaos
async def test_a_worker_without_a_broker_tries_to_connect_at_a_steady_pace(
    stores: Stores,
    broker: RabbitPublisher,
    pool: Pool,
    channel: AbstractChannel,
    start_worker: StartWorker,
    worker_log: Path,
) -> None:
    relay = Relay(stores.broker_url.get_secret_value())
    start_worker(PENCHANT_BROKER_URL=await relay.reserve())

    async def tried(times: int) -> bool:
        return worker_log.read_text().count("Cannot connect") >= times  # noqa: ASYNC240 -- small and local

    await eventually(lambda: tried(1))
    await eventually(lambda: tried(6), within=20)  # waits that grow by two seconds each would take thirty
    await broker.publish(store_events([make_event()]))
    await relay.open()

    async def stored() -> bool:
        return await count(pool) == 1

    await eventually(stored)
    await relay.close()


async def test_a_stopped_worker_finishes_its_task(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    worker = start_worker()
    await broker.publish(store_events([make_event()]))

    async def stored() -> bool:
        return await count(pool) == 1

    await eventually(stored)
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 30) == 0


@pytest.mark.parametrize("name", ["PENCHANT_LAKE_AT", "PENCHANT_RETRAIN_AT"])
async def test_a_worker_with_a_wrong_setting_ends_at_its_start_and_names_the_setting(
    pool: Pool, start_worker: StartWorker, worker_log: Path, name: str
) -> None:
    worker = start_worker(**{name: "25:00"})
    assert await asyncio.to_thread(worker.wait, 30) == 2
    assert f"{name}: Input should be in a valid time format" in worker_log.read_text()  # noqa: ASYNC240 -- small and local
