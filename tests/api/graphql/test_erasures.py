"""`eraseUser`: a person is gone from every store, what they did before does not come back, and a receipt says so."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr
from redis.asyncio import Redis

from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from api.oauth.registration import register
from api.scopes import SCOPES
from core import clock
from core.contract import Person, identity_of
from core.settings import Stores
from db import erasures
from db.cache import person_keys, seen_digests
from db.clients import create_client
from db.items import upsert_items
from db.jobs import AFFINITY, request_job
from db.outbox import put_aside
from db.serving import MAIN, Model, promote, register_model
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET
from workers import topology
from workers.enqueue import Broker
from workers.erasures import carry_on_erasures
from workers.events import Memory, read_batch, store
from workers.people import LANDED

ERASE = """mutation ($id: ID!) { eraseUser(id: $id) { userErrors { code field }
  erasure { id erasedAt completedAt requestedBy stores { store status at note } } } }"""
RECEIPT = "query ($id: ID!) { erasure(id: $id) { id erasedAt completedAt stores { store status at note } } }"
TRACK = """mutation ($events: [EventInput!]!) {
  trackEvents(events: $events) { results { outcome code field message } } }"""
IDENTIFY = 'mutation { identify(input: {userId: "anna", anonymousId: "g-1"}) { userErrors { code } } }'
DESCRIBE = 'mutation { upsertUsers(users: [{id: "anna", traits: {city: "Bern"}}]) { accepted } }'
ABOUT = '{ user(id: "anna") { known traits rfm { frequency } history { nodes { id } } } }'
NOBODY: dict[str, Any] = {"known": False, "traits": None, "rfm": None, "history": {"nodes": []}}
LATER = {"LAKE", "BUNDLE", "OUTBOX", "QUEUE", "DEAD_EVENTS"}


@pytest.fixture
async def memory(stores: Stores) -> AsyncIterator[Memory]:
    opened = Memory(stores)
    yield opened
    await opened.close()


@pytest.fixture
async def http(
    stores: Stores, pool: asyncpg.Pool, redis: Redis, channel: AbstractChannel
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a socket and a client whose token has every scope."""
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap")])
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))
    async with asked(Configured(stores)) as client:
        await authorize(client, grant_type=CLIENT_CREDENTIALS)
        yield client


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel on this run's vhost, every queue empty."""
    topology.declare(broker_url)
    async with await aio_pika.connect(broker_url) as connection:
        opened = await connection.channel()
        for queue in (topology.EVENTS, topology.DEAD_LETTERS):
            await (await opened.get_queue(queue.name)).purge()
        yield opened


async def authorize(http: httpx.AsyncClient, **form: str) -> None:
    granted = await http.post("/oauth/token", data=form, auth=(CLIENT, SECRET))
    http.headers["authorization"] = f"Bearer {granted.json()['access_token']}"


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    body = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
    assert "errors" not in body, body
    (answer,) = body["data"].values()
    return answer


async def erase(http: httpx.AsyncClient, id: str = "anna") -> dict[str, Any]:
    payload = await ask(http, ERASE, id=id)
    assert payload["userErrors"] == []
    receipt: dict[str, Any] = payload["erasure"]
    return receipt


def event(id: str, moment: datetime | None = None, **fields: Any) -> dict[str, Any]:
    when = moment or clock.now() - timedelta(hours=1)
    who = {} if "anonymousId" in fields else {"userId": "anna"}
    return {"type": "PURCHASE", "itemId": "milk", "id": id, "occurredAt": when.isoformat(), **who, **fields}


async def track(http: httpx.AsyncClient, *events: dict[str, Any]) -> list[tuple[str, str | None]]:
    told = await ask(http, TRACK, events=events)
    return [(result["outcome"], result["code"]) for result in told["results"]]


async def drain(channel: AbstractChannel, memory: Memory) -> list[int]:
    """Store all that waits in the queue, as a worker would; how many events of each batch were new."""
    queue, stored = await channel.get_queue(topology.EVENTS.name), []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        stored.append(await store(memory, read_batch(json.loads(message.body)[0][0]), patience=5))
    return stored


async def carry_on(stores: Stores, pool: asyncpg.Pool, redis: Redis, after: timedelta = 2 * LANDED, **more: Any) -> int:
    """What the chores do a moment later."""
    broker = Broker(stores.broker_url.get_secret_value(), 5)
    try:
        return await carry_on_erasures(pool, redis, broker, clock.now() + after, **more)
    finally:
        await broker.close()


def states(receipt: dict[str, Any]) -> dict[str, str]:
    return {one["store"]: one["status"] for one in receipt["stores"]}


async def everything_that_names(pool: asyncpg.Pool, text: str) -> list[str]:
    """Tables of which some row holds the text in any column."""
    tables = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    return [
        name
        for (name,) in tables
        if await pool.fetchval(f"SELECT EXISTS (SELECT FROM {name} AS row WHERE row::text LIKE $1)", f"%{text}%")
    ]


async def test_a_person_is_gone_from_every_store_and_the_receipt_says_when(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, memory: Memory, pool: asyncpg.Pool, redis: Redis
) -> None:
    await ask(http, DESCRIBE)
    moment = clock.now() - timedelta(hours=1)
    await track(http, event("e1", moment), event("e2", anonymousId="g-1", orderId="o"), event("e3", userId="bert"))
    await drain(channel, memory)
    await ask(http, IDENTIFY)
    await request_job(pool, AFFINITY, "curious", "shop for anna")
    assert (await ask(http, ABOUT))["rfm"] == {"frequency": 2}
    before = clock.now()
    receipt = await erase(http)
    assert not await redis.exists(*person_keys(Person("user", "anna")), *person_keys(Person("guest", "g-1")))
    assert await ask(http, ABOUT) == NOBODY
    assert receipt["requestedBy"] == CLIENT and receipt["completedAt"] is None
    assert {store for store, status in states(receipt).items() if status == "PENDING"} == LATER
    assert (states(receipt)["POSTGRES"], states(receipt)["REDIS"]) == ("ERASED", "ERASED")
    for name in ("REJECT_FILES", "IMPRESSIONS", "FORECASTS", "DRIFT_SAMPLES"):
        assert states(receipt)[name] == "NOTHING_HELD"
    for one in receipt["stores"]:
        assert (one["at"] is None) == (one["status"] == "PENDING")
        assert one["at"] is None or before <= datetime.fromisoformat(one["at"]) <= clock.now()
    assert await seen_digests(redis, [identity_of(CLIENT, "e1", moment)]) == [None]
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM events")] == ["bert"]
    assert await carry_on(stores, pool, redis) == 1
    done = await ask(http, RECEIPT, id=receipt["id"])
    assert "PENDING" not in states(done).values() and done["completedAt"]
    assert (states(done)["LAKE"], states(done)["BUNDLE"]) == ("NOTHING_HELD", "NOTHING_HELD")
    for id in ("anna", "g-1"):
        assert await everything_that_names(pool, id) == []


async def test_what_was_on_its_way_is_dropped_and_what_comes_after_is_a_new_person(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, memory: Memory, pool: asyncpg.Pool, redis: Redis
) -> None:
    await track(http, event("stored", anonymousId="g-1"))
    await drain(channel, memory)
    await ask(http, IDENTIFY)
    await track(http, event("queued"), event("queued-guest", anonymousId="g-1"), event("other", userId="bert"))
    await erase(http)
    await track(http, event("after", clock.now()), event("after-guest", clock.now(), anonymousId="g-1"))
    assert sum(await drain(channel, memory)) == 3
    assert (await ask(http, ABOUT))["history"]["nodes"] == [{"id": "after"}]
    left = await pool.fetch("SELECT id, user_id, anonymous_id FROM events ORDER BY id")
    assert [tuple(row) for row in left] == [
        ("after", "anna", None), ("after-guest", None, "g-1"), ("other", "bert", None),
    ]  # fmt: skip
    assert (await ask(http, ABOUT))["rfm"] == {"frequency": 1}
    await carry_on(stores, pool, redis)
    assert (await ask(http, ABOUT))["history"]["nodes"] == [{"id": "after"}], "carrying on leaves the new person alone"


async def test_an_erased_past_does_not_become_somebody_elses(
    http: httpx.AsyncClient, channel: AbstractChannel, memory: Memory, pool: asyncpg.Pool
) -> None:
    await ask(http, IDENTIFY)
    await track(http, event("queued-guest", anonymousId="g-1"))
    await erase(http)
    await ask(http, IDENTIFY.replace("anna", "bert"))  # the next person at that browser
    assert await drain(channel, memory) == [0]
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_late_event_is_refused_without_a_word_about_the_erasure(http: httpx.AsyncClient) -> None:
    await erase(http)
    late, fresh, other = event("late"), event("fresh", clock.now()), event("other", userId="bert")
    told = await ask(http, TRACK, events=[late, fresh, other])
    assert [(one["outcome"], one["code"], one["field"]) for one in told["results"]] == [
        ("REJECTED", "NOT_KEPT", ["occurredAt"]), ("ACCEPTED", None, None), ("ACCEPTED", None, None),
    ]  # fmt: skip
    assert "eras" not in told["results"][0]["message"].lower()


async def test_an_event_received_before_is_dropped_even_if_its_clock_was_ahead(
    http: httpx.AsyncClient, channel: AbstractChannel, memory: Memory
) -> None:
    assert await track(http, event("ahead", clock.now() + timedelta(minutes=4))) == [("ACCEPTED", None)]
    await erase(http)
    assert await drain(channel, memory) == [0]


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


async def test_asked_again_it_erases_what_came_since_and_renews_the_receipt(
    http: httpx.AsyncClient, stores: Stores, channel: AbstractChannel, memory: Memory, pool: asyncpg.Pool, redis: Redis
) -> None:
    first = await erase(http)
    await carry_on(stores, pool, redis)
    again = await erase(http)
    assert (again["id"], states(again)["POSTGRES"]) == (first["id"], "NOTHING_HELD")
    assert again["erasedAt"] > first["erasedAt"]
    assert (states(again)["LAKE"], states(again)["QUEUE"]) == ("NOTHING_HELD", "PENDING")
    await track(http, event("back", clock.now()))
    await drain(channel, memory)
    third = await erase(http)
    assert (third["id"], states(third)["POSTGRES"], states(third)["LAKE"]) == (first["id"], "ERASED", "PENDING")
    assert await carry_on(stores, pool, redis) == 1
    assert await ask(http, ABOUT) == NOBODY


@pytest.mark.parametrize("id", ["nobody", "🧀" * 128, "g-1", "user:x"])
async def test_an_unknown_id_and_a_guests_have_a_receipt_too(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    memory: Memory,
    pool: asyncpg.Pool,
    redis: Redis,
    id: str,
) -> None:
    await track(http, event("e1", anonymousId="g-1"))
    await drain(channel, memory)
    receipt = await erase(http, id)
    assert states(receipt)["POSTGRES"] == "NOTHING_HELD"
    assert await pool.fetchval("SELECT count(*) FROM events") == 1, "a guest of that id is somebody else"
    assert await track(http, event("late", userId=id)) == [("REJECTED", "NOT_KEPT")]
    assert await carry_on(stores, pool, redis) == 1


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 129])
async def test_what_cannot_be_an_id_is_a_user_error(http: httpx.AsyncClient, pool: asyncpg.Pool, id: str) -> None:
    payload = await ask(http, ERASE, id=id)
    assert payload == {"erasure": None, "userErrors": [{"code": "BAD_USER_INPUT", "field": ["id"]}]}
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 0


async def test_an_unknown_receipt_is_null(http: httpx.AsyncClient) -> None:
    for id in ("", "no uuid", str(uuid4())):
        assert await ask(http, RECEIPT, id=id) is None


async def test_nobody_but_a_client_with_the_scope_erases(http: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    receipt = await erase(http, "bert")
    person = {"grant_type": TOKEN_EXCHANGE, "subject_token": "anna", "subject_token_type": USER_ID}
    for form in (
        {"grant_type": CLIENT_CREDENTIALS, "scope": "profiles:read profiles:write events:write"},
        {**person, "scope": "profiles:read"},
        {**person, "scope": "profiles:erase"},  # a client may ask for it by name; it does not help
    ):
        await authorize(http, **form)
        for query, id in ((ERASE, "anna"), (RECEIPT, receipt["id"])):
            body = (await http.post("/graphql", json={"query": query, "variables": {"id": id}})).json()
            assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
            assert list(body["data"].values()) == [None]
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 1


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
    monkeypatch.setattr(erasures, "MOST_AT_ONCE", 4)
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
