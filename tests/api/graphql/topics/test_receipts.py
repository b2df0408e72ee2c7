"""Receipts of erasures: what is not erased at once continues in the background, store by store, until all are done."""

from datetime import datetime, time, timedelta
from pathlib import Path
from uuid import uuid4

import aio_pika
import httpx
import pyarrow.parquet as pq
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr
from redis.asyncio import Redis

from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Person, read_event
from core.settings import EventLake, Stores
from db import deletion, erasures
from db.cache import person_keys
from db.dead_events import DeadReason, NewDeadEvent
from db.jobs import AFFINITY
from db.lake.due_exports import request_export
from db.outbox import keep_envelope
from db.postgres import Pool
from db.serving import Model, promote, register_model
from engine.dead_events.records import of_event
from engine.dead_events.storing import record_dead_events
from engine.maintenance.exporting import export_day
from engine.privacy.guests import SETTLE_DELAY
from tests.erasing import IDENTIFY, RECEIPT, ask, carry_on, drain, erase, event, states, tables_with, track
from tests.in_process import Configured, asked
from workers.process import Connections

EXPORT = 'mutation { exportUser(id: "anna") { export { profile } } }'


async def test_events_stored_during_the_erasure_are_erased_later(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    receipt = await erase(http)
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, digest)"
        " VALUES ('x', 'slipped', $1, 'VIEW', 'anna', 1)",
        datetime.fromisoformat(receipt["erasedAt"]) - timedelta(seconds=1),
    )
    assert await carry_on(stores, pool, redis, after=SETTLE_DELAY / 2) == 0
    assert await pool.fetchval("SELECT count(*) FROM events") == 1, "checked only after every earlier batch is stored"
    assert await carry_on(stores, pool, redis) == 1
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
    assert states(await ask(http, RECEIPT, id=receipt["id"]))["POSTGRES"] == "ERASED"


async def test_outbox_queue_and_dead_letters_are_done_when_they_have_nothing_older_than_the_erasure(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: Pool, redis: Redis
) -> None:
    broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    await keep_envelope(pool, uuid4(), b"an envelope", b"a message")
    for key in (topology.EVENTS.routing_key, "unknown key"):
        exchange = topology.EXCHANGE if key == topology.EVENTS.routing_key else topology.DEAD
        await (await channel.get_exchange(exchange.name)).publish(aio_pika.Message(b"x"), key)
    id = (await erase(http))["id"]

    async def waiting() -> set[str]:
        await carry_on(stores, pool, redis)
        progress = states(await ask(http, RECEIPT, id=id))
        return {store for store, status in progress.items() if status == "PENDING"}

    assert await waiting() == {"OUTBOX", "QUEUE", "DEAD_EVENTS"}
    await pool.execute("DELETE FROM outbox")
    assert await waiting() == {"QUEUE", "DEAD_EVENTS"}
    await (await channel.get_queue(topology.EVENTS.name)).purge()
    assert await waiting() == {"DEAD_EVENTS"}
    await (await channel.get_queue(topology.DEAD_LETTERS.name)).purge()
    assert await waiting() == set()
    await broker.close()


async def test_the_lake_is_rewritten_at_night_and_the_ids_are_kept_until_then(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
    tmp_path: Path,
) -> None:
    night = EventLake(lake_url=str(tmp_path / "lake"), lake_at=time(3))

    async def in_the_lake() -> set[str]:
        await request_export(pool, "a night", timedelta(0))
        await pool.execute("UPDATE lake_exports SET finished_at = NULL")
        await export_day(pool, night, "a night")
        files = [str(file) for file in (tmp_path / "lake").rglob("part-*.parquet")]
        return {id for file in files for id in pq.read_table(file, partitioning=None)["id"].to_pylist()}

    yesterday = clock.now() - timedelta(days=1, hours=2)
    theirs = [event("as-anna", yesterday), event("as-guest", yesterday, anonymousId="g-1")]
    await track(http, *theirs, event("as-bert", yesterday, userId="bert"))
    await drain(channel, connections)
    assert await in_the_lake() == {"as-anna", "as-guest", "as-bert"}
    await ask(http, IDENTIFY)
    id = (await erase(http))["id"]
    assert await in_the_lake() == {"as-anna", "as-guest", "as-bert"}, "an event of theirs may still be in the queue"
    await carry_on(stores, pool, redis, has_lake=True)
    assert states(await ask(http, RECEIPT, id=id))["LAKE"] == "PENDING"
    assert await tables_with(pool, "g-1") == ["erasures"]
    assert await in_the_lake() == {"as-bert"}
    await carry_on(stores, pool, redis, has_lake=True)
    done = await ask(http, RECEIPT, id=id)
    assert (states(done)["LAKE"], bool(done["completedAt"])) == ("ERASED", True)
    assert await tables_with(pool, "g-1") == []


async def test_dead_events_of_the_person_are_erased_and_later_ones_are_not_stored(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    raw = {"type": "VIEW", "itemId": "milk", "id": "e1", "occurredAt": clock.now() - timedelta(hours=1)}

    def dead_event(**who: str) -> NewDeadEvent:
        event = read_event({**raw, **who}, source="shop", received_at=clock.now())
        return of_event(event, DeadReason.UNSTORABLE, "a test says so")

    await ask(http, IDENTIFY)
    everybody = [dead_event(userId="anna"), dead_event(anonymousId="g-1"), dead_event(userId="bert")]
    await record_dead_events(pool, everybody)
    profile = (await ask(http, EXPORT))["export"]["profile"]
    dead = {(one["reason"], "anna" in one["body"], "g-1" in one["body"]) for one in profile["deadEvents"]}
    assert dead == {("UNSTORABLE", False, True), ("UNSTORABLE", True, False)}
    id = (await erase(http))["id"]
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM dead_events")] == ["bert"]
    await record_dead_events(pool, everybody)
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM dead_events")] == ["bert"]
    await carry_on(stores, pool, redis)
    assert states(await ask(http, RECEIPT, id=id))["DEAD_EVENTS"] == "ERASED"


async def test_the_bundle_is_done_when_one_serves_whose_training_started_after_the_erasure(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: Pool, redis: Redis
) -> None:
    now = clock.now()

    async def serve(bundle: str, began: timedelta) -> None:
        await register_model(pool, Model(bundle, AFFINITY, now + timedelta(minutes=1), "digest", {}, None))
        await pool.execute(
            "INSERT INTO training_jobs (kind, state, reason, requested_by, started_at, bundle)"
            " VALUES ('affinity', 'SUCCEEDED', '', '', $1, $2)",
            now + began,
            bundle,
        )
        await promote(pool, bundle, "a test says so", {}, "test")

    id = (await erase(http))["id"]
    await serve("began-before", -timedelta(minutes=5))
    assert await carry_on(stores, pool, redis) == 0
    assert states(await ask(http, RECEIPT, id=id))["BUNDLE"] == "PENDING"
    assert await tables_with(pool, "anna") == [], "no id is kept until the next training"
    await serve("began-after", timedelta(seconds=30))
    assert await carry_on(stores, pool, redis) == 1
    assert states(await ask(http, RECEIPT, id=id))["BUNDLE"] == "ERASED"


async def test_while_redis_is_unavailable_redis_stays_pending_and_is_erased_later(
    stores: Stores, http: httpx.AsyncClient, channel: AbstractChannel, pool: Pool, redis: Redis
) -> None:
    await redis.set(person_keys(Person("user", "anna")).base, b"state")
    nowhere = stores.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    async with asked(Configured(nowhere)) as other:
        other.headers["authorization"] = http.headers["authorization"]
        receipt = await erase(other)
    assert states(receipt)["REDIS"] == "PENDING"
    await carry_on(stores, pool, redis)
    assert states(await ask(http, RECEIPT, id=receipt["id"]))["REDIS"] == "ERASED"
    assert not await redis.exists(*person_keys(Person("user", "anna")))


async def test_an_erasure_is_continued_after_its_gateway_crashed(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: Pool, redis: Redis
) -> None:
    await redis.set(person_keys(Person("user", "anna")).base, b"state")
    begun, _ = await erasures.begin_erasure(pool, "anna", "shop", clock.now())
    assert await carry_on(stores, pool, redis) == 1
    progress = states(await ask(http, RECEIPT, id=str(begun.id)))
    assert (progress["POSTGRES"], progress["REDIS"], progress["REJECT_FILES"]) == (
        "NOTHING_HELD",
        "ERASED",
        "NOTHING_HELD",
    )
    assert not await redis.exists(*person_keys(Person("user", "anna")))


async def test_a_person_with_very_many_events_is_erased_in_parts(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: Pool, redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(deletion, "MOST_AT_ONCE", 4)
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, digest)"
        " SELECT 'load', n::text, $1::timestamptz - n * interval '1 minute', 'VIEW', 'anna', n"
        " FROM generate_series(1, 12) n",
        clock.now(),
    )
    receipt = await erase(http)
    assert states(receipt)["POSTGRES"] == "PENDING"
    rounds = 0
    while await carry_on(stores, pool, redis) == 0:
        rounds += 1
        assert rounds < 5
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
    assert states(await ask(http, RECEIPT, id=receipt["id"]))["POSTGRES"] == "ERASED"
