"""`identify`: a guest's events become the user's, also those still in the queue, if the token may act for both."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.contract import Person, read_event
from core.settings import Stores
from db.cache import person_keys
from db.clients import create_client
from db.items import upsert_items
from db.postgres import Pool
from engine.intake.storing import store
from engine.scopes import PEOPLE, SCOPES
from tests.erasing import drain
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET
from workers.process import Connections

IDENTIFY = """mutation ($user: ID!, $guest: ID!, $proof: String) {
  identify(input: {userId: $user, anonymousId: $guest, anonymousToken: $proof}) {
    user { id known } userErrors { code field message } } }"""
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted results { outcome code } } }"
ABOUT = """query ($id: ID!) { user(id: $id) { rfm { frequency monetary } history { nodes { id itemId anonymousId } }
  recommendations { edges { node { id } reason { code } } } } }"""


async def token(http: httpx.AsyncClient, client: str = CLIENT, **form: str) -> str:
    granted = await http.post("/oauth/token", data={"grant_type": CLIENT_CREDENTIALS, **form}, auth=(client, SECRET))
    assert granted.status_code == 200, granted.text
    return str(granted.json()["access_token"])


async def token_of(http: httpx.AsyncClient, person: Person, client: str = CLIENT, **form: str) -> str:
    kind = USER_ID if person.kind == "user" else ANONYMOUS_ID
    return await token(
        http, client, grant_type=TOKEN_EXCHANGE, subject_token=person.id, subject_token_type=kind, **form
    )


async def say(http: httpx.AsyncClient, bearer: str, query: str, **variables: Any) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {bearer}"}
    answer = await http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
async def http(stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a socket, and two clients with every scope."""
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap", "vase")])
    for id in (CLIENT, "partner"):
        grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
        await create_client(pool, register(id, SECRET, grants=grants, scope=" ".join(SCOPES)))
    async with asked(Configured(stores)) as client:
        yield client


@pytest.fixture
async def bearer(http: httpx.AsyncClient) -> str:
    """A client's own token, with every scope."""
    return await token(http)


def event(type: str, item: str, id: str, days: float = 1, **who: str) -> dict[str, Any]:
    when = (clock.now() - timedelta(days=days)).isoformat()
    price = {"unitPrice": "2.50", "orderId": f"o-{id}"} if type == "PURCHASE" else {}
    return {"type": type, "itemId": item, "id": id, "occurredAt": when, **price, **(who or {"anonymousId": "g-1"})}


async def about(http: httpx.AsyncClient, bearer: str, id: str = "anna") -> dict[str, Any]:
    body = await say(http, bearer, ABOUT, id=id)
    assert "errors" not in body, body
    found: dict[str, Any] = body["data"]["user"]
    return found


async def identify(http: httpx.AsyncClient, bearer: str, user: str = "anna", guest: str = "g-1", **proof: str) -> Any:
    body = await say(http, bearer, IDENTIFY, user=user, guest=guest, **proof)
    assert "errors" not in body, body
    payload = body["data"]["identify"]
    return payload["user"] and payload["user"]["id"], [error["code"] for error in payload["userErrors"]]


async def test_the_users_next_answer_includes_the_guests_events(
    http: httpx.AsyncClient, bearer: str, channel: AbstractChannel, connections: Connections, redis: Redis
) -> None:
    own = event("VIEW", "vase", "own", userId="anna")
    await say(http, bearer, TRACK, events=[event("PURCHASE", "milk", "e1"), event("VIEW", "soap", "e2"), own])
    assert await drain(channel, connections)
    before = await about(http, bearer)
    assert (before["rfm"], [node["id"] for node in before["history"]["nodes"]]) == (None, ["own"])
    assert await identify(http, bearer) == ("anna", [])
    after = await about(http, bearer)
    assert after["rfm"] == {"frequency": 1, "monetary": "2.50"}
    assert {node["id"] for node in after["history"]["nodes"]} == {"own", "e1", "e2"}
    reasons = {edge["node"]["id"]: edge["reason"]["code"] for edge in after["recommendations"]["edges"]}
    assert reasons.keys() >= {"milk"}
    assert not await redis.exists(*person_keys(Person("guest", "g-1")))
    visitor = await say(http, bearer, '{ visitor(anonymousId: "g-1") { rfm { frequency } history { nodes { id } } } }')
    assert visitor["data"]["visitor"] == {"rfm": None, "history": {"nodes": []}}


async def test_events_still_in_the_queue_become_the_users_too(
    http: httpx.AsyncClient,
    bearer: str,
    channel: AbstractChannel,
    connections: Connections,
    redis: Redis,
    pool: Pool,
) -> None:
    await about(http, bearer)  # a base is built without the guest
    bought = event("PURCHASE", "milk", "e1")
    await say(http, bearer, TRACK, events=[bought])
    assert await identify(http, bearer) == ("anna", [])
    assert (await about(http, bearer))["rfm"]["frequency"] == 1, "from Redis while the event is in the queue"
    late = event("PURCHASE", "soap", "e2", days=2)
    await say(http, bearer, TRACK, events=[late])  # the page still calls them a guest
    assert len(await drain(channel, connections)) == 2
    after = await about(http, bearer)
    assert after["rfm"] == {"frequency": 2, "monetary": "5.00"}
    assert {node["id"] for node in after["history"]["nodes"]} == {"e1", "e2"}
    assert not await redis.exists(*person_keys(Person("guest", "g-1")))
    await redis.flushdb()  # no hint: the primary key alone says it is known, and the digest that it is the same
    await say(http, bearer, TRACK, events=[bought, late])
    await drain(channel, connections)
    assert await pool.fetchval("SELECT count(*) FROM events") == 2
    assert (await about(http, bearer))["rfm"] == after["rfm"]


async def test_a_joined_event_keeps_the_digest_of_the_event_as_sent(
    pool: Pool, connections: Connections, http: httpx.AsyncClient, bearer: str
) -> None:
    sent = read_event(event("VIEW", "milk", "e1"), source="shop", received_at=clock.now())
    await identify(http, bearer)
    assert await store(connections, [sent], timeout=5) == 1
    row = await pool.fetchrow("SELECT user_id, anonymous_id, digest FROM events")
    assert tuple(row) == ("anna", "g-1", sent.digest)


async def test_a_repeat_changes_nothing_and_another_user_is_a_conflict(http: httpx.AsyncClient, bearer: str) -> None:
    for _ in range(2):
        assert await identify(http, bearer) == ("anna", [])
    assert await identify(http, bearer, guest="g-2") == ("anna", []), "a person may have been several guests"
    body = await say(http, bearer, IDENTIFY, user="bert", guest="g-1")
    (error,) = body["data"]["identify"]["userErrors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["anonymousId"])
    assert "anna" not in error["message"]


async def test_a_person_with_the_guests_token_joins_the_guest(http: httpx.AsyncClient) -> None:
    anna, guest = Person("user", "anna"), Person("guest", "g-1")
    own, proof = await token_of(http, anna), await token_of(http, guest)
    assert await identify(http, own, proof=proof) == ("anna", [])


@pytest.mark.parametrize(
    "which", ["none", "forged", "other guest", "a user", "other client", "may not write", "itself"]
)
async def test_a_person_without_the_guests_token_joins_no_guest(
    http: httpx.AsyncClient, pool: Pool, which: str
) -> None:
    anna, guest = Person("user", "anna"), Person("guest", "g-1")
    own, good = await token_of(http, anna), await token_of(http, guest)
    proofs = {
        "none": {},
        "forged": {"proof": good[:-4] + "AAAA"},
        "other guest": {"proof": await token_of(http, Person("guest", "g-2"))},
        "a user": {"proof": await token_of(http, Person("user", "g-1"))},
        "other client": {"proof": await token_of(http, guest, "partner")},
        "may not write": {"proof": await token_of(http, guest, scope="recommendations:read")},
        "itself": {"proof": own},
    }
    assert await identify(http, own, **proofs[which]) == (None, ["NOT_YOURS"])
    assert await pool.fetchval("SELECT count(*) FROM identities") == 0


async def test_a_person_joins_no_guest_to_another_user(http: httpx.AsyncClient) -> None:
    guest = Person("guest", "g-1")
    proof = await token_of(http, guest)
    everything = " ".join(PEOPLE)
    for own in (await token_of(http, Person("user", "bert"), scope=everything), proof):
        assert await identify(http, own, proof=proof) == (None, ["NOT_YOURS"])


async def test_no_guest_is_joined_to_an_id_that_begins_like_the_subject_of_a_guests_token(
    http: httpx.AsyncClient, bearer: str, pool: Pool
) -> None:
    body = await say(http, bearer, IDENTIFY, user="urn:penchant:guest:g-1", guest="g-2")
    assert "must not begin with urn:penchant:" in str(body)
    assert await pool.fetchval("SELECT count(*) FROM identities") == 0


async def test_a_client_needs_both_scopes(http: httpx.AsyncClient) -> None:
    for scopes in ("events:write", "profiles:write"):
        body = await say(http, await token(http, scope=scopes), IDENTIFY, user="anna", guest="g-1")
        assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
    both = await token(http, scope="events:write profiles:write")
    assert await identify(http, both) == ("anna", [])


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 129])
async def test_an_invalid_id_is_a_user_error(http: httpx.AsyncClient, bearer: str, id: str) -> None:
    assert await identify(http, bearer, user=id) == (None, ["BAD_USER_INPUT"])
    assert await identify(http, bearer, guest=id) == (None, ["BAD_USER_INPUT"])


async def test_emoji_are_ids(http: httpx.AsyncClient, bearer: str) -> None:
    assert await identify(http, bearer, user="🧀" * 128, guest="👻" * 128) == ("🧀" * 128, [])
