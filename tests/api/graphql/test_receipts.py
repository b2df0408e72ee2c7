"""Receipts of erasures: what takes longer is carried on, store by store, and said when it is done."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr
from redis.asyncio import Redis

from core import clock
from core.contract import Person
from core.settings import Stores
from db import erasures, sweeps
from db.cache import person_keys
from db.jobs import AFFINITY
from db.outbox import put_aside
from db.serving import MAIN, Model, promote, register_model
from tests.erasing import IDENTIFY, RECEIPT, ask, carry_on, erase, everything_that_names, states
from tests.in_process import Configured, asked
from workers import topology
from workers.enqueue import Broker
from workers.erasures import carry_on_erasures
from workers.events import Memory
from workers.people import LANDED


async def test_a_batch_that_slipped_in_is_swept_behind(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, memory: Memory, pool: asyncpg.Pool, redis: Redis
) -> None:
    receipt = await erase(http)
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, digest)"
        " VALUES ('x', 'slipped', $1, 'VIEW', 'anna', 1)",
        datetime.fromisoformat(receipt["erasedAt"]) - timedelta(seconds=1),
    )
    assert await carry_on(stores, pool, redis, after=LANDED / 2) == 0
    assert await pool.fetchval("SELECT count(*) FROM events") == 1, "not looked at before it can have landed"
    assert await carry_on(stores, pool, redis) == 1
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
    assert states(await ask(http, RECEIPT, id=receipt["id"]))["POSTGRES"] == "ERASED"


async def test_outbox_queue_and_dead_letters_are_done_when_nothing_from_before_waits(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis
) -> None:
    broker = Broker(stores.broker_url.get_secret_value(), 5)
    await put_aside(pool, uuid4(), b"a message")
    for key in (topology.EVENTS.routing_key, "nobody knows it"):
        exchange = topology.EXCHANGE if key == topology.EVENTS.routing_key else topology.DEAD
        await (await channel.get_exchange(exchange.name)).publish(aio_pika.Message(b"x"), key)
    id = (await erase(http))["id"]

    async def waiting() -> set[str]:
        await carry_on(stores, pool, redis)
        told = states(await ask(http, RECEIPT, id=id))
        return {store for store, status in told.items() if status == "PENDING"}

    assert await waiting() == {"OUTBOX", "QUEUE", "DEAD_EVENTS"}
    await pool.execute("DELETE FROM outbox")
    assert await waiting() == {"QUEUE", "DEAD_EVENTS"}
    await (await channel.get_queue(topology.EVENTS.name)).purge()
    assert await waiting() == {"DEAD_EVENTS"}
    await (await channel.get_queue(topology.DEAD_LETTERS.name)).purge()
    assert await waiting() == set()
    await broker.close()


async def test_the_lake_is_rewritten_at_night_and_the_ids_are_kept_until_then(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis
) -> None:
    asked_for: list[list[Person]] = []

    async def rewrite(people: Sequence[Person]) -> int:
        asked_for.append(list(people))
        return 3

    await ask(http, IDENTIFY)
    id = (await erase(http))["id"]
    await erase(http, "bert")
    await pool.execute("UPDATE erasures SET erased_at = $1", datetime(2026, 3, 1, 12, tzinfo=UTC))
    broker = Broker(stores.broker_url.get_secret_value(), 5)
    for hour in (1, 11):
        await carry_on_erasures(pool, redis, broker, datetime(2026, 3, 1, 12 + hour, tzinfo=UTC), rewrite)
    assert asked_for == []
    assert states(await ask(http, RECEIPT, id=id))["LAKE"] == "PENDING"
    assert await everything_that_names(pool, "g-1") == ["erasures"]
    for _ in range(2):
        await carry_on_erasures(pool, redis, broker, datetime(2026, 3, 2, 0, 1, tzinfo=UTC), rewrite)
    await broker.close()
    assert [set(people) for people in asked_for] == [
        {Person("user", "anna"), Person("guest", "g-1"), Person("user", "bert")}
    ], "once, for all"
    done = await ask(http, RECEIPT, id=id)
    assert (states(done)["LAKE"], bool(done["completedAt"])) == ("ERASED", True)
    assert await everything_that_names(pool, "g-1") == []


async def test_the_bundle_is_done_when_one_serves_whose_training_began_after(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis
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
        await promote(pool, MAIN, bundle, "a test says so", {}, "test")

    id = (await erase(http))["id"]
    await serve("began-before", -timedelta(minutes=5))
    assert await carry_on(stores, pool, redis) == 0
    assert states(await ask(http, RECEIPT, id=id))["BUNDLE"] == "PENDING"
    assert await everything_that_names(pool, "anna") == [], "nobody's id waits for a training"
    await serve("began-after", timedelta(seconds=30))
    assert await carry_on(stores, pool, redis) == 1
    assert states(await ask(http, RECEIPT, id=id))["BUNDLE"] == "ERASED"


async def test_while_redis_is_away_the_receipt_says_so_and_the_chores_make_it_good(
    stores: Stores, http: httpx.AsyncClient, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis
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


async def test_an_erasure_whose_gateway_died_is_carried_on_from_its_first_change(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis
) -> None:
    await redis.set(person_keys(Person("user", "anna")).base, b"state")
    begun, _ = await erasures.begin_erasure(pool, "anna", "shop", clock.now())
    assert await carry_on(stores, pool, redis) == 1
    told = states(await ask(http, RECEIPT, id=str(begun.id)))
    assert (told["POSTGRES"], told["REDIS"], told["REJECT_FILES"]) == ("NOTHING_HELD", "ERASED", "NOTHING_HELD")
    assert not await redis.exists(*person_keys(Person("user", "anna")))


async def test_a_person_of_very_many_events_is_erased_in_parts(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, pool: asyncpg.Pool, redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sweeps, "MOST_AT_ONCE", 4)
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
