"""Guests who become users: also their events that are stored while they are joined, later, or never."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr
from redis.asyncio import Redis

from bus.envelope import Envelope, Kind
from bus.messages import store_events
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Event, Person, read_event
from core.settings import Stores
from db import identities
from db.cache import add_recent, person_keys, read_person, write_base
from db.dead_events import DeadReason
from db.events import events_of_person, insert_events
from db.identities import join_guest, unsettled_identities
from db.postgres import Pool
from engine.dead_events.records import of_event
from engine.intake.outbox import keep_in_outbox
from engine.intake.storing import store
from engine.privacy.guests import SETTLE_DELAY, settle_guests
from tests.faults import Relay, eventually
from tests.fixtures.worker import StartWorker
from tests.running import register_client, running_gateway
from workers.process import Connections

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA, GUEST = Person("user", "anna"), Person("guest", "g-1")


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "anonymousId": "g-1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


async def test_a_user_whose_guest_had_events_while_redis_was_away_is_rebuilt(
    stores: Stores, pool: Pool, redis: Redis
) -> None:
    relay = Relay(stores.redis_url.get_secret_value())
    connections = Connections(stores.model_copy(update={"redis_url": SecretStr(await relay.reserve())}))
    await join_guest(pool, "g-1", "anna", "shop")
    await write_base(redis, ANNA, b"from before")
    assert await store(connections, [make_event()], timeout=5) == 1
    await relay.open()
    await store(connections, [make_event(userId="bert")], timeout=5)
    assert await read_person(redis, ANNA) == (None, [])
    await connections.close()
    await relay.close()


async def test_a_dead_event_of_a_guest_who_became_a_user_is_kept_as_it_was_reported() -> None:
    reported = make_event()
    given = reported.of_user("anna")
    dead = of_event(given, DeadReason.UNSTORABLE, "a test says so")
    assert dead == of_event(reported, DeadReason.UNSTORABLE, "a test says so")
    again = Event.model_validate_json(dead.body)
    assert (given.user_id, again.user_id, again.digest) == ("anna", None, reported.digest)


async def test_events_stored_after_the_join_belong_to_the_user_and_no_other_events_change(
    connections: Connections, pool: Pool, redis: Redis
) -> None:
    await join_guest(pool, "g-1", "anna", "shop")
    batch = [make_event(), make_event(anonymousId="g-2"), make_event(userId="bert")]
    assert await store(connections, batch, timeout=5) == 3
    assert [event.id for event in await events_of_person(pool, ANNA)] == [batch[0].id]
    assert [event.id for event in await events_of_person(pool, Person("guest", "g-2"))] == [batch[1].id]
    assert [event.id for event in await events_of_person(pool, Person("user", "bert"))] == [batch[2].id]
    assert [len((await read_person(redis, person))[1]) for person in (ANNA, GUEST)] == [1, 0]


async def test_events_stored_during_the_join_are_given_to_the_user_later(pool: Pool, redis: Redis) -> None:
    await join_guest(pool, "g-1", "anna", "shop")
    late = make_event()
    await insert_events(pool, [late])  # as a worker does that began before the join
    await add_recent(redis, [late])
    await write_base(redis, ANNA, b"built before")
    soon = clock.now() + SETTLE_DELAY / 2
    assert await settle_guests(pool, redis, soon) == 0
    assert await settle_guests(pool, redis, clock.now() + 2 * SETTLE_DELAY) == 1
    assert [event.id for event in await events_of_person(pool, ANNA)] == [late.id]
    base, delta = await read_person(redis, ANNA)
    assert (base, len(delta)) == (None, 1)
    assert not await redis.exists(*person_keys(GUEST))
    assert await settle_guests(pool, redis, clock.now() + 2 * SETTLE_DELAY) == 0, "once"


async def test_a_guest_of_very_many_events_is_given_to_the_user_in_parts(
    pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
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


AT_ONCE = (
    "from datetime import timedelta; from engine.privacy import continuing_erasures as c; c.SETTLE_DELAY = timedelta(0)"
)
IDENTIFY = 'mutation { identify(input: {userId: "anna", anonymousId: "g-1"}) { userErrors { code } } }'
ERASE = 'mutation { eraseUser(id: "anna") { erasure { id } } }'
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"
HISTORY = "query ($id: ID!) { user(id: $id) { history { nodes { id } } } }"
RECEIPT = "query ($id: ID!) { erasure(id: $id) { completedAt stores { store status } } }"


async def test_a_person_from_guest_to_erasure_with_a_gateway_and_a_worker_of_their_own(
    stores: Stores,
    pool: Pool,
    redis: Redis,
    channel: AbstractChannel,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    await register_client(pool)
    with running_gateway(stores, tmp_path / "gateway.log") as gateway:
        start_worker(AT_ONCE)
        token = await asyncio.to_thread(gateway.token)
        async with httpx.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {token}"}) as http:

            async def ask(query: str, **variables: Any) -> Any:
                body = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
                assert "errors" not in body, body
                (answer,) = body["data"].values()
                return answer

            async def track(id: str, **who: str) -> None:
                when = (clock.now() - timedelta(minutes=1)).isoformat()
                event = {"type": "VIEW", "itemId": "i1", "id": id, "occurredAt": when, **who}
                assert (await ask(TRACK, events=[event]))["accepted"] == 1

            async def knows(id: str, *events: str) -> bool:
                nodes = (await ask(HISTORY, id=id))["history"]["nodes"]
                return {node["id"] for node in nodes} == set(events)

            await track("as-guest", anonymousId="g-1")
            assert (await ask(IDENTIFY))["userErrors"] == []
            await track("still-as-guest", anonymousId="g-1")
            await eventually(partial(knows, "anna", "as-guest", "still-as-guest"))

            receipt = (await ask(ERASE))["erasure"]["id"]
            assert await knows("anna")
            late = [make_event(userId="anna"), make_event()]
            broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
            await keep_in_outbox(pool, broker, store_events(late))  # as by a gateway that had no broker then
            last = make_event(id="last", occurredAt=NOW.isoformat(), userId="bert")
            await keep_in_outbox(pool, broker, store_events([last]))
            await eventually(partial(knows, "bert", "last"))
            assert await knows("anna")
            assert await events_of_person(pool, GUEST) == []
            assert not await redis.exists(person_keys(ANNA).delta, *person_keys(GUEST))

            broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)

            async def complete() -> bool:
                await broker.publish(Envelope(kind=Kind.PERIODIC))
                return (await ask(RECEIPT, id=receipt))["completedAt"] is not None

            await eventually(complete)
            await broker.close()
            logs = (tmp_path / "gateway.log").read_text() + (tmp_path / "worker.log").read_text()
            assert "person_erased" in logs and "erasure_complete" in logs
            assert "anna" not in logs and "g-1" not in logs
