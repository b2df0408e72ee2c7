"""`mergeUsers`: two ids become one person, in answers, in the export and in the erasure."""

from datetime import datetime
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.contract import Person
from core.settings import Stores
from db.cache import person_keys
from db.postgres import Pool
from engine.scopes import PEOPLE
from tests.erasing import ask, authorize, carry_on, drain, erase, event, states, tables_with, track
from workers.process import Connections

MERGE = """mutation ($from: ID!, $into: ID!) { mergeUsers(input: {fromId: $from, intoId: $into}) {
  user { id known rfm { frequency } } userErrors { code field message } } }"""
IDENTIFY = """mutation ($guest: ID!) { identify(input: {userId: "anna", anonymousId: $guest}) {
  user { id } userErrors { code field message } } }"""
ABOUT = "query ($id: ID!) { user(id: $id) { known traits rfm { frequency } history { nodes { id } } } }"
ME = "{ me { id rfm { frequency } history { nodes { id } } } }"
DESCRIBE = "mutation ($users: [UserInput!]!) { upsertUsers(users: $users) { accepted } }"
EXPORT = """mutation ($id: ID!) { exportUser(id: $id) { export { id profile events { nodes { id } } }
  userErrors { code } } }"""


async def merge(http: httpx.AsyncClient, from_id: str = "anna-old", into_id: str = "anna") -> tuple[Any, list[str]]:
    payload = await ask(http, MERGE, **{"from": from_id, "into": into_id})
    return payload["user"] and payload["user"]["id"], [error["code"] for error in payload["userErrors"]]


async def refused(http: httpx.AsyncClient, query: str, **variables: Any) -> list[str]:
    body = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
    return [error["extensions"]["code"] for error in body["errors"]]


def bought(id: str, moment: datetime | None = None, **fields: Any) -> dict[str, Any]:
    return event(id, moment, orderId=id, **fields)


def names(about: dict[str, Any]) -> set[str]:
    return {node["id"] for node in about["history"]["nodes"]}


@pytest.fixture
async def two(http: httpx.AsyncClient, channel: AbstractChannel, connections: Connections) -> httpx.AsyncClient:
    """A gateway where anna has two ids: `anna-old` has a guest."""
    users = [{"id": "anna-old", "traits": {"city": "Bern", "size": "M"}}, {"id": "anna", "traits": {"city": "Basel"}}]
    await ask(http, DESCRIBE, users=users)
    old = bought("old", userId="anna-old")
    await track(http, bought("new"), old, bought("guest", anonymousId="g-1"), bought("other", userId="bert"))
    await drain(channel, connections)
    await ask(http, 'mutation { identify(input: {userId: "anna-old", anonymousId: "g-1"}) { userErrors { code } } }')
    return http


async def test_the_next_answer_is_about_one_person(
    two: httpx.AsyncClient, channel: AbstractChannel, connections: Connections
) -> None:
    for _ in range(2):
        assert await merge(two) == ("anna", [])
    for id in ("anna", "anna-old"):
        about = await ask(two, ABOUT, id=id)
        assert (about["known"], about["traits"]) == (True, {"city": "Basel", "size": "M"})
        assert (about["rfm"], names(about)) == ({"frequency": 3}, {"new", "old", "guest"})
    await track(two, bought("late", userId="anna-old"), bought("late-guest", anonymousId="g-1"))
    assert (await ask(two, ABOUT, id="anna-old"))["rfm"] == {"frequency": 4}, "before it is stored"
    await drain(channel, connections)
    for id in ("anna", "anna-old"):
        about = await ask(two, ABOUT, id=id)
        assert (about["rfm"], names(about)) == ({"frequency": 5}, {"new", "old", "guest", "late", "late-guest"})
    assert names(await ask(two, ABOUT, id="bert")) == {"other"}


async def test_a_token_of_the_old_id_sees_the_person_it_became_and_nobody_else(two: httpx.AsyncClient) -> None:
    await merge(two)
    await authorize(
        two, grant_type=TOKEN_EXCHANGE, subject_token="anna-old", subject_token_type=USER_ID, scope=" ".join(PEOPLE)
    )
    me = await ask(two, ME)
    assert (me["id"], me["rfm"], names(me)) == ("anna-old", {"frequency": 3}, {"new", "old", "guest"})
    assert await refused(two, ABOUT, id="bert") == ["NOT_FOUND"]
    assert await track(two, {"type": "VIEW", "itemId": "milk"}) == [("ACCEPTED", None)]


async def test_contradicting_merges_are_user_errors(two: httpx.AsyncClient) -> None:
    assert await merge(two) == ("anna", [])
    assert await merge(two, "anna", "anna-old") == (None, ["CONFLICT"])
    assert await merge(two, "anna-old", "bert") == (None, ["CONFLICT"])
    assert await merge(two, "anna", "anna") == (None, ["BAD_USER_INPUT"])
    assert await merge(two, "x" * 129, "anna") == (None, ["BAD_USER_INPUT"])
    payload = await ask(two, MERGE, **{"from": "anna-old", "into": "bert"})
    assert "anna" not in payload["userErrors"][0]["message"]


async def test_only_a_client_with_both_scopes_merges(two: httpx.AsyncClient) -> None:
    for scope in ("events:write", "profiles:write"):
        await authorize(two, grant_type=CLIENT_CREDENTIALS, scope=scope)
        assert await refused(two, MERGE, **{"from": "a", "into": "b"}) == ["FORBIDDEN"]
    await authorize(two, grant_type=CLIENT_CREDENTIALS, scope="events:write profiles:write recommendations:read")
    two_scopes = MERGE.replace("known rfm { frequency }", "")
    assert (await ask(two, two_scopes, **{"from": "a", "into": "b"}))["user"] == {"id": "b"}


@pytest.mark.parametrize("guest", ["anna-old", "bert"])
async def test_identify_says_that_a_users_id_joins_nothing(two: httpx.AsyncClient, pool: Pool, guest: str) -> None:
    before = await pool.fetch("SELECT id, user_id FROM events ORDER BY id")
    payload = await ask(two, IDENTIFY, guest=guest)
    (error,) = payload["userErrors"]
    assert (payload["user"], error["code"], error["field"]) == (None, "IS_USER", ["anonymousId"])
    assert "mergeUsers" in error["message"]
    assert await pool.fetch("SELECT id, user_id FROM events ORDER BY id") == before
    assert await pool.fetchval("SELECT count(*) FROM identities") == 1


async def test_identify_joins_a_guest_whose_id_is_a_users_too(
    two: httpx.AsyncClient, channel: AbstractChannel, connections: Connections
) -> None:
    await track(two, bought("as-guest", anonymousId="bert"))
    await drain(channel, connections)
    for _ in range(2):
        assert (await ask(two, IDENTIFY, guest="bert"))["userErrors"] == []
    assert names(await ask(two, ABOUT, id="anna")) == {"new", "as-guest"}


@pytest.mark.parametrize("id", ["anna", "anna-old"])
async def test_the_export_of_either_id_has_everything(two: httpx.AsyncClient, id: str) -> None:
    await merge(two)
    export = (await ask(two, EXPORT, id=id))["export"]
    profile = export["profile"]
    assert (profile["id"], profile["traits"], profile["events"]["count"]) == ("anna", {"city": "Basel"}, 3)
    ((old, traits),) = [(one["id"], one["traits"]) for one in profile["mergedUsers"]]
    assert (old, traits) == ("anna-old", {"city": "Bern", "size": "M"})
    assert [one["anonymousId"] for one in profile["anonymousIds"]] == ["g-1"]
    assert {node["id"] for node in export["events"]["nodes"]} == {"new", "old", "guest"}


@pytest.mark.parametrize("id", ["anna", "anna-old"])
async def test_the_erasure_of_either_id_erases_both(
    two: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
    id: str,
) -> None:
    await merge(two)
    await ask(two, ABOUT, id="anna-old")  # Redis knows both
    late = [bought("late-old", userId="anna-old"), bought("late-new"), bought("late-guest", anonymousId="g-1")]
    await track(two, *late)
    receipt = await erase(two, id)
    assert await drain(channel, connections) == [0]
    for person in (Person("user", "anna"), Person("user", "anna-old"), Person("guest", "g-1")):
        assert not await redis.exists(*person_keys(person))
    for each in ("anna", "anna-old"):
        about = await ask(two, ABOUT, id=each)
        assert (about["known"], about["traits"], about["rfm"], names(about)) == (False, None, None, set())
    assert await carry_on(stores, pool, redis) == 1
    assert await tables_with(pool, "anna") == []
    assert "PENDING" not in states(receipt).values() or await tables_with(pool, "g-1") == []
    exported = (await ask(two, EXPORT, id=id))["export"]["profile"]
    assert exported["erasure"]["id"] == receipt["id"]
    await track(two, bought("again", userId="anna-old"))
    assert [outcome for outcome, _ in await track(two, late[0])] == ["REJECTED"]


async def test_after_an_erasure_the_ids_are_two_new_people(
    two: httpx.AsyncClient, channel: AbstractChannel, connections: Connections
) -> None:
    await merge(two)
    await erase(two)
    await track(two, bought("new-again", clock.now()), bought("old-again", clock.now(), userId="anna-old"))
    await drain(channel, connections)
    assert names(await ask(two, ABOUT, id="anna")) == {"new-again"}
    assert names(await ask(two, ABOUT, id="anna-old")) == {"old-again"}
