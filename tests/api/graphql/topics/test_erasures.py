"""`eraseUser`: a person is erased from every store, and their earlier events are not stored again."""

from datetime import datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.contract import Person, identity_of
from core.settings import Stores
from db.cache import person_keys, seen_digests
from db.choices import change_choices
from db.jobs import AFFINITY, request_job
from db.postgres import Pool, transaction
from tests.erasing import (
    ABOUT,
    DESCRIBE,
    ERASE,
    IDENTIFY,
    LATER,
    NOBODY,
    RECEIPT,
    TRACK,
    ask,
    authorize,
    carry_on,
    drain,
    erase,
    event,
    states,
    tables_with,
    track,
)
from tests.running import CLIENT
from workers.process import Connections


async def test_a_person_is_erased_from_every_store_and_the_receipt_says_when(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    await ask(http, DESCRIBE)
    moment = clock.now() - timedelta(hours=1)
    await track(http, event("e1", moment), event("e2", anonymousId="g-1", orderId="o"), event("e3", userId="bert"))
    await drain(channel, connections)
    await ask(http, IDENTIFY)
    await ask(http, 'mutation { hideItem(itemId: "milk", userId: "anna") { userErrors { code } } }')
    async with transaction(pool) as inside:
        await change_choices(inside, Person("guest", "g-1"), lambda choices: choices.hiding(category="dairy"))
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
        assert await tables_with(pool, id) == []


async def test_queued_events_are_dropped_and_later_events_belong_to_a_new_person(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    await track(http, event("stored", anonymousId="g-1"))
    await drain(channel, connections)
    await ask(http, IDENTIFY)
    await track(http, event("queued"), event("queued-guest", anonymousId="g-1"), event("other", userId="bert"))
    await erase(http)
    await track(http, event("after", clock.now()), event("after-guest", clock.now(), anonymousId="g-1"))
    assert sum(await drain(channel, connections)) == 3
    assert (await ask(http, ABOUT))["history"]["nodes"] == [{"id": "after"}]
    left = await pool.fetch("SELECT id, user_id, anonymous_id FROM events ORDER BY id")
    assert [tuple(row) for row in left] == [
        ("after", "anna", None), ("after-guest", None, "g-1"), ("other", "bert", None),
    ]  # fmt: skip
    assert (await ask(http, ABOUT))["rfm"] == {"frequency": 1}
    await carry_on(stores, pool, redis)
    assert (await ask(http, ABOUT))["history"]["nodes"] == [{"id": "after"}], "the new person is not erased"


async def test_erased_events_do_not_become_another_persons(
    http: httpx.AsyncClient, channel: AbstractChannel, connections: Connections, pool: Pool
) -> None:
    await ask(http, IDENTIFY)
    await track(http, event("queued-guest", anonymousId="g-1"))
    await erase(http)
    await ask(http, IDENTIFY.replace("anna", "bert"))  # the next person who uses the browser
    assert await drain(channel, connections) == [0]
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_late_event_is_refused_without_mentioning_the_erasure(http: httpx.AsyncClient) -> None:
    await erase(http)
    late, fresh, other = event("late"), event("fresh", clock.now()), event("other", userId="bert")
    payload = await ask(http, TRACK, events=[late, fresh, other])
    assert [(one["outcome"], one["code"], one["field"]) for one in payload["results"]] == [
        ("REJECTED", "NOT_KEPT", ["occurredAt"]), ("ACCEPTED", None, None), ("ACCEPTED", None, None),
    ]  # fmt: skip
    assert "eras" not in payload["results"][0]["message"].lower()


async def test_an_event_received_before_is_dropped_even_if_its_clock_was_ahead(
    http: httpx.AsyncClient, channel: AbstractChannel, connections: Connections
) -> None:
    assert await track(http, event("ahead", clock.now() + timedelta(minutes=4))) == [("ACCEPTED", None)]
    await erase(http)
    assert await drain(channel, connections) == [0]


async def test_a_repeated_erasure_erases_what_is_new_and_renews_the_receipt(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    first = await erase(http)
    await carry_on(stores, pool, redis)
    again = await erase(http)
    assert (again["id"], states(again)["POSTGRES"]) == (first["id"], "NOTHING_HELD")
    assert again["erasedAt"] > first["erasedAt"]
    assert (states(again)["LAKE"], states(again)["QUEUE"]) == ("PENDING", "PENDING"), "they may have the new events"
    await track(http, event("back", clock.now()))
    await drain(channel, connections)
    third = await erase(http)
    assert (third["id"], states(third)["POSTGRES"], states(third)["LAKE"]) == (first["id"], "ERASED", "PENDING")
    assert await carry_on(stores, pool, redis) == 1
    assert await ask(http, ABOUT) == NOBODY


@pytest.mark.parametrize("id", ["nobody", "🧀" * 128, "g-1", "user:x"])
async def test_an_unknown_id_and_a_guests_id_have_a_receipt_too(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
    id: str,
) -> None:
    await track(http, event("e1", anonymousId="g-1"))
    await drain(channel, connections)
    receipt = await erase(http, id)
    assert states(receipt)["POSTGRES"] == "NOTHING_HELD"
    assert await pool.fetchval("SELECT count(*) FROM events") == 1, "a guest with that id is another person"
    late = event("late", userId=id)
    assert await track(http, late, late) == [("REJECTED", "NOT_KEPT")] * 2, "not a DUPLICATE"
    assert await carry_on(stores, pool, redis) == 1


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 129])
async def test_an_invalid_id_is_a_user_error(http: httpx.AsyncClient, pool: Pool, id: str) -> None:
    payload = await ask(http, ERASE, id=id)
    assert payload == {"erasure": None, "userErrors": [{"code": "BAD_USER_INPUT", "field": ["id"]}]}
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 0


async def test_an_unknown_receipt_is_null(http: httpx.AsyncClient) -> None:
    for id in ("", "no uuid", str(uuid4())):
        assert await ask(http, RECEIPT, id=id) is None


async def test_only_a_client_with_the_scope_erases(http: httpx.AsyncClient, pool: Pool) -> None:
    receipt = await erase(http, "bert")
    person = {"grant_type": TOKEN_EXCHANGE, "subject_token": "anna", "subject_token_type": USER_ID}
    for form in (
        {"grant_type": CLIENT_CREDENTIALS, "scope": "profiles:read profiles:write events:write"},
        {**person, "scope": "profiles:read"},
        person,
    ):
        await authorize(http, **form)
        for query, id in ((ERASE, "anna"), (RECEIPT, receipt["id"])):
            body = (await http.post("/graphql", json={"query": query, "variables": {"id": id}})).json()
            assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
            assert list(body["data"].values()) == [None]
    assert await pool.fetchval("SELECT count(*) FROM erasures") == 1
