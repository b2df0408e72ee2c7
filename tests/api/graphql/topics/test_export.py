"""`exportUser`: everything that is stored about a user, for a client with the scope."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from db.choices import change_choices
from db.events import insert_events
from db.identities import join_guest
from db.jobs import AFFINITY, request_job
from db.postgres import transaction
from db.users import upsert_users
from tests.fixtures.gateway import Ask

EXPORT = """mutation ($id: ID!, $first: Int! = 20, $after: String) { exportUser(id: $id) {
  export { id asOf profile events(first: $first, after: $after) {
    nodes { id source type userId anonymousId itemId query properties } pageInfo { hasNextPage endCursor } } }
  userErrors { code field } } }"""


def did(id: str, days: float, **fields: Any) -> Event:
    when = (clock.now() - timedelta(days=days)).isoformat()
    raw = {"id": id, "type": "VIEW", "itemId": "milk", "userId": "anna", "occurredAt": when, **fields}
    return read_event(raw, source="shop", received_at=clock.now())


async def test_an_export_has_everything_that_is_stored_about_a_user(gateway: Gateway, ask: Ask) -> None:
    await upsert_users(gateway.pool, [{"id": "anna", "updated_at": clock.now(), "traits": {"city": "Bern"}}])
    guest = did("e2", 2, userId=None, anonymousId="g-1", type="SEARCH", query="oats", properties={"deep": {"er": 1}})
    await insert_events(gateway.pool, [did("e1", 1), guest, did("x", 1, userId="bert")])
    await join_guest(gateway.pool, "g-1", "anna", "shop")
    await request_job(gateway.pool, AFFINITY, "curious", "shop for anna")
    await request_job(gateway.pool, AFFINITY, "curious", "shop for bert and anna")
    async with transaction(gateway.pool) as inside:
        await change_choices(inside, Person("user", "anna"), lambda choices: choices.hiding(item="milk"))
        await change_choices(inside, Person("guest", "g-1"), lambda choices: choices.hiding(category="dairy"))
    answer = await ask(EXPORT, {"id": "anna"})
    assert answer.codes == []
    export = answer.data["exportUser"]["export"]
    profile = export["profile"]
    assert (profile["id"], profile["traits"], profile["events"]["count"]) == ("anna", {"city": "Bern"}, 2)
    assert [(one["anonymousId"], one["by"]) for one in profile["anonymousIds"]] == [("g-1", "shop")]
    assert profile["choices"] == [
        {"of": "guest", "hiddenItems": [], "hiddenCategories": ["dairy"], "pausedSince": None},
        {"of": "user", "hiddenItems": ["milk"], "hiddenCategories": [], "pausedSince": None},
    ]
    assert [(one["what"], one["reason"]) for one in profile["asked"]] == [("training", "curious")]
    assert export["events"]["nodes"] == [
        {"id": "e1", "source": "shop", "type": "VIEW", "userId": "anna", "anonymousId": None, "itemId": "milk",
         "query": None, "properties": None},
        {"id": "e2", "source": "shop", "type": "SEARCH", "userId": "anna", "anonymousId": "g-1", "itemId": "milk",
         "query": "oats", "properties": {"deep": {"er": 1}}},
    ]  # fmt: skip


async def test_fifty_thousand_events_are_exported_in_pages_each_once(gateway: Gateway, ask: Ask) -> None:
    await gateway.pool.execute("SELECT ensure_event_partitions($1, $2)", clock.now() - timedelta(days=40), clock.now())
    await gateway.pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, item_id, digest) SELECT 'load', n::text,"
        " $1::timestamptz - n * interval '1 minute', 'VIEW', 'anna', 'milk', n FROM generate_series(1, 50000) n",
        clock.now(),
    )
    seen: list[str] = []
    after = None
    for _ in range(3):
        export = (await ask(EXPORT, {"id": "anna", "first": 100, "after": after})).data["exportUser"]["export"]
        assert export["profile"]["events"]["count"] == 50_000
        seen += [node["id"] for node in export["events"]["nodes"]]
        assert export["events"]["pageInfo"]["hasNextPage"]
        after = export["events"]["pageInfo"]["endCursor"]
    assert seen == [str(n) for n in range(1, 301)]


@pytest.mark.parametrize("id", ["nobody", "🧀" * 128])
async def test_the_export_of_an_unknown_user_is_empty(ask: Ask, id: str) -> None:
    export = (await ask(EXPORT, {"id": id})).data["exportUser"]["export"]
    assert (export["id"], export["profile"]["traits"], export["events"]["nodes"]) == (id, None, [])
    assert export["profile"]["events"] == {"count": 0, "first": None, "last": None}


async def test_an_invalid_id_is_a_user_error(ask: Ask) -> None:
    payload = (await ask(EXPORT, {"id": "a\0"})).data["exportUser"]
    assert payload == {"export": None, "userErrors": [{"code": "BAD_USER_INPUT", "field": ["id"]}]}


async def test_only_a_client_with_the_scope_exports(ask: Ask) -> None:
    assert (await ask(EXPORT, {"id": "anna"}, scopes=["profiles:read", "profiles:write"])).codes == ["FORBIDDEN"]
    for person in (Person("user", "anna"), Person("guest", "anna")):
        assert (await ask(EXPORT, {"id": "anna"}, person=person)).codes == ["FORBIDDEN"]
