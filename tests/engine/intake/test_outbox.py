"""Messages kept by the release before: rewritten by the migration, sent, replayed, and stored."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import psycopg
import pytest
from aio_pika.abc import AbstractChannel
from psycopg import sql
from pydantic import SecretStr
from redis.asyncio import Redis

from bus.envelope import Envelope, Kind
from bus.messages import store_events
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import read_event
from core.settings import Ingest as IngestSettings
from core.settings import Stores
from db import migrate
from db.outbox import OutboxEnvelope, count_envelopes, take_envelopes
from db.postgres import Pool, connect_pool, transaction
from db.shares import share_out
from engine.dead_events.deciding import replay
from engine.intake.ingest import EventIntake
from engine.intake.outbox import drain_outbox, envelope_of, keep_in_outbox
from tests.erasing import drain
from tests.faults import eventually
from workers.process import Connections

BEFORE = "0006"  # the schema of the release that kept Celery messages
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID, AFTER_ID, DAMAGED_ID = (UUID(int=number) for number in (1, 2, 3))


def event_json(id: str) -> str:
    return (
        f'{{"id":"{id}","source":"shop","type":"VIEW","occurredAt":"2026-03-01T12:00:00Z","userId":"u1","itemId":"i1",'
        f'"receivedAt":"2026-03-01T12:00:00Z","properties":{{"text":"\\"🛒\\\\"}}}}'
    )


def celery_body(*ids: str) -> bytes:
    """The body of a message as that release kept it in its outbox."""
    text = json.dumps("[" + ",".join(map(event_json, ids)) + "]", ensure_ascii=False)
    return f'[[{text}],{{}},{{"callbacks":null,"errbacks":null,"chain":null,"chord":null}}]'.encode()


@pytest.fixture
def own(stores: Stores) -> Iterator[Stores]:
    """The test's stores with a database of its own, at the schema of the release before."""
    url, name = stores.postgres_url.get_secret_value(), f"outbox_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        ours = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        migrate.upgrade(ours, BEFORE)
        yield stores.model_copy(update={"postgres_url": SecretStr(ours)})
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
async def own_pool(own: Stores) -> AsyncIterator[Pool]:
    async with await connect_pool(own.postgres_url.get_secret_value()) as pool:
        yield pool


@pytest.fixture
async def publisher(stores: Stores) -> AsyncIterator[RabbitPublisher]:
    opened = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    yield opened
    await opened.close()


def upgrade(own: Stores) -> None:
    migrate.upgrade(own.postgres_url.get_secret_value())


async def keep_as_before(pool: Pool, id: UUID, body: bytes) -> None:
    """As the release before writes a row of its outbox."""
    await pool.execute("INSERT INTO outbox (task_id, body) VALUES ($1, $2)", id, body)


async def insert_as_before(pool: Pool, kind: str, body: bytes) -> None:
    """As the release before writes a dead event."""
    await pool.execute(
        "INSERT INTO dead_events (key, kind, reason, detail, attempts, task, body)"
        " VALUES ($1, $2, 'FAILED', 'why', 1, 'penchant.store_events', $3)",
        uuid.uuid4().hex,
        kind,
        body,
    )


async def stored_ids(pool: Pool) -> set[str]:
    return {row["id"] for row in await pool.fetch("SELECT id FROM events")}


async def test_the_migration_rewrites_what_the_outbox_holds(own: Stores, own_pool: Pool) -> None:
    await keep_as_before(own_pool, ID, celery_body("e1", "e2"))
    await keep_as_before(own_pool, DAMAGED_ID, b"[[")
    upgrade(own)
    whole, damaged = await take_envelopes(own_pool)
    array = f"[{event_json('e1')},{event_json('e2')}]".encode()
    assert envelope_of(whole) == Envelope(kind=Kind.STORE_EVENTS, id=ID, body=array)
    assert whole.body == celery_body("e1", "e2"), "a gateway of the release before still sends it"
    assert damaged.envelope is None and envelope_of(damaged).body == b"[["


async def test_old_rows_are_sent_and_stored_also_those_written_after_the_migration(
    own: Stores, own_pool: Pool, redis: Redis, channel: AbstractChannel, publisher: RabbitPublisher
) -> None:
    await keep_as_before(own_pool, ID, celery_body("e1", "e2"))
    upgrade(own)
    await keep_as_before(own_pool, AFTER_ID, celery_body("e3"))
    ingest = EventIntake(IngestSettings(), own_pool, redis, publisher)
    ingest.open()

    async def is_empty() -> bool:
        return await count_envelopes(own_pool) == 0

    await eventually(is_empty)
    await ingest.close()
    connections = Connections(own)
    assert await drain(channel, connections) == [2, 1]
    await connections.close()
    assert await stored_ids(own_pool) == {"e1", "e2", "e3"}


async def test_old_dead_events_are_replayed_and_stored_also_those_written_after_the_migration(
    own: Stores, own_pool: Pool, redis: Redis, channel: AbstractChannel, publisher: RabbitPublisher
) -> None:
    await insert_as_before(own_pool, "EVENT", event_json("e1").encode())
    await insert_as_before(own_pool, "MESSAGE", celery_body("e2"))
    upgrade(own)
    await insert_as_before(own_pool, "EVENT", event_json("e3").encode())
    await insert_as_before(own_pool, "MESSAGE", celery_body("e4"))
    ids = [str(row["id"]) for row in await own_pool.fetch("SELECT id FROM dead_events")]
    assert [result.outcome for result in await replay(own_pool, publisher, ids, "ada")] == ["ACCEPTED"] * 4
    connections = Connections(own)
    assert await drain(channel, connections) == [1] * 4
    await connections.close()
    assert await stored_ids(own_pool) == {"e1", "e2", "e3", "e4"}


async def test_a_gateway_of_the_release_before_can_send_new_rows(
    own: Stores, own_pool: Pool, publisher: RabbitPublisher
) -> None:
    upgrade(own)
    event = read_event({"type": "VIEW", "userId": "u1", "itemId": "i1"}, source="shop", received_at=NOW)
    envelope = store_events([event])
    await keep_in_outbox(own_pool, publisher, envelope)
    (row,) = await own_pool.fetch("SELECT id, task_id, body FROM outbox")
    (text,), keywords, _ = json.loads(row["body"])
    assert (row["task_id"], text.encode(), keywords) == (envelope.id, envelope.body, {})
    migrate.downgrade(own.postgres_url.get_secret_value(), BEFORE)
    assert await own_pool.fetchval("SELECT body FROM outbox") == row["body"]


@pytest.mark.parametrize("envelope", [b"damaged", b'{"version":2,"kind":"penchant.store_events"}\n[]'])
def test_a_row_whose_envelope_cannot_be_read_is_sent_as_its_body(envelope: bytes) -> None:
    sent = envelope_of(OutboxEnvelope(1, ID, envelope, celery_body("e1")))
    assert (sent.kind, sent.id, sent.body) == (Kind.AS_RECEIVED, ID, celery_body("e1"))


async def test_rows_that_cannot_be_read_are_sent_and_delay_no_other(
    own: Stores, own_pool: Pool, redis: Redis, channel: AbstractChannel, publisher: RabbitPublisher
) -> None:
    upgrade(own)
    for _ in range(25):  # more than one round takes
        event = read_event({"type": "VIEW", "userId": "u1", "itemId": "i1"}, source="shop", received_at=NOW)
        await keep_in_outbox(own_pool, publisher, store_events([event]))
    await own_pool.execute("UPDATE outbox SET envelope = 'damaged' WHERE id <= 24")
    ingest = EventIntake(IngestSettings(), own_pool, redis, publisher)
    ingest.open()

    async def is_empty() -> bool:
        return await count_envelopes(own_pool) == 0

    await eventually(is_empty)
    await ingest.close()
    connections = Connections(own)
    assert sum(await drain(channel, connections)) == 25
    await connections.close()


async def test_an_unexpected_error_does_not_end_the_draining_of_the_outbox(
    own: Stores,
    own_pool: Pool,
    redis: Redis,
    channel: AbstractChannel,
    publisher: RabbitPublisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail_once(*arguments: object) -> None:
        monkeypatch.setattr("engine.intake.ingest.drain_outbox", drain_outbox)
        raise asyncpg.InsufficientPrivilegeError("permission denied for table outbox")

    upgrade(own)
    monkeypatch.setattr("engine.intake.ingest.drain_outbox", fail_once)
    await keep_in_outbox(own_pool, publisher, store_events([]))
    ingest = EventIntake(IngestSettings(), own_pool, redis, publisher)
    ingest.open()

    async def is_empty() -> bool:
        return await count_envelopes(own_pool) == 0

    await eventually(is_empty)
    await ingest.close()


class HoldingPublisher(RabbitPublisher):
    """Publishes only once it is released."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 5)
        self.asked, self.released = asyncio.Event(), asyncio.Event()

    async def publish(self, envelope: Envelope) -> None:
        self.asked.set()
        await self.released.wait()
        await super().publish(envelope)


async def test_the_drain_of_the_outbox_takes_no_connection_of_people(
    own: Stores, own_pool: Pool, redis: Redis, broker_url: str
) -> None:
    upgrade(own)
    shares = share_out(own_pool, 600)
    publisher = HoldingPublisher(broker_url)
    await keep_in_outbox(own_pool, publisher, store_events([]))
    ingest = EventIntake(IngestSettings(), shares.people, redis, publisher, catching_up=shares.bulk)
    async with AsyncExitStack() as people:
        for _ in range(4 * own_pool.get_max_size() // 10):
            await people.enter_async_context(transaction(shares.people))
        ingest.open()
        async with asyncio.timeout(30):
            await publisher.asked.wait()
    publisher.released.set()

    async def is_empty() -> bool:
        return await count_envelopes(own_pool) == 0

    await eventually(is_empty)
    await ingest.close()
    await publisher.close()
