"""A person who signed in at the shop's identity provider uses the whole gateway, as that person and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from core.settings import Stores
from db.clients import create_client
from db.issuers import Issuer
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.api.oauth.foreign.conftest import Trust
from tests.identity_provider import IdentityProvider, new_key
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET

TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { results { outcome code } } }"
IDENTIFY = """mutation ($user: ID!, $proof: String) {
  identify(input: {userId: $user, anonymousId: "g-1", anonymousToken: $proof}) { user { id } userErrors { code } } }"""


@pytest.fixture
async def issuer(redis: Redis, trust: Trust) -> Issuer:
    """The provider, registered before the gateway starts."""
    return await trust()


@pytest.fixture
async def http(
    issuer: Issuer, stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a socket, and a client with every scope."""
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))
    async with asked(Configured(stores)) as client:
        yield client


async def post(http: httpx.AsyncClient, token: str, query: str, **variables: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return await http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)


def codes(answer: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in answer.json()["errors"]]


async def test_a_person_sees_themselves_and_nobody_else(
    issuer: Issuer, http: httpx.AsyncClient, provider: IdentityProvider
) -> None:
    token = provider.token_of("u1")
    assert (await post(http, token, "{ me { id } }")).json() == {"data": {"me": {"id": "u1"}}}
    for other in ("u2", "nobody", "robot", CLIENT):
        assert codes(await post(http, token, "query ($id: ID!) { user(id: $id) { id } }", id=other)) == ["NOT_FOUND"]
    assert codes(await post(http, token, "{ models { nodes { id } } }")) == ["FORBIDDEN"]
    assert codes(await post(http, token, 'mutation { eraseUser(id: "u1") { userErrors { code } } }')) == ["FORBIDDEN"]


async def test_a_person_reports_their_own_events_and_no_money_unless_that_was_given(
    issuer: Issuer, http: httpx.AsyncClient, provider: IdentityProvider
) -> None:
    events = [
        {"type": "VIEW", "itemId": "milk"},
        {"type": "VIEW", "itemId": "milk", "userId": "u2"},
        {"type": "PURCHASE", "itemId": "milk"},
    ]
    results = (await post(http, provider.token_of("u1"), TRACK, events=events)).json()["data"]["trackEvents"]["results"]
    assert results[0] == {"outcome": "ACCEPTED", "code": None}
    assert results[1] == {"outcome": "REJECTED", "code": "NOT_YOURS"}
    assert results[2]["outcome"] == "REJECTED"


async def test_a_forged_token_is_401(issuer: Issuer, http: httpx.AsyncClient, provider: IdentityProvider) -> None:
    for token in (provider.forged(key=new_key("k1")), provider.forged(kid="unknown"), provider.robots_token()):
        answer = await post(http, token, "{ me { id } }")
        assert answer.status_code == 401
        assert codes(answer) == ["UNAUTHENTICATED"]
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_an_issuer_that_is_away_from_the_start_is_503(
    issuer: Issuer, provider: IdentityProvider, stores: Stores, redis: Redis, channel: AbstractChannel
) -> None:
    token = provider.token_of("u1")
    provider.stop()
    async with asked(Configured(stores)) as http:
        answer = await post(http, token, "{ me { id } }")
    assert answer.status_code == 503
    assert codes(answer) == ["SERVICE_UNAVAILABLE"]
    assert answer.headers["retry-after"]


async def test_a_person_joins_a_guest_of_the_same_client(
    issuer: Issuer, http: httpx.AsyncClient, provider: IdentityProvider, pool: Pool
) -> None:
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": "g-1", "subject_token_type": ANONYMOUS_ID}
    proof = (await http.post("/oauth/token", data=form, auth=(CLIENT, SECRET))).json()["access_token"]
    token = provider.token_of("u1")

    async def join(user: str) -> Any:
        return (await post(http, token, IDENTIFY, user=user, proof=proof)).json()["data"]["identify"]

    assert (await join("u1"))["userErrors"] == [{"code": "NOT_YOURS"}], "the guest is of a client, the issuer has none"
    await pool.execute("UPDATE oauth_issuers SET client_id = $1", CLIENT)
    began = monotonic()
    while (joined := await join("u1"))["user"] is None:
        assert monotonic() - began < 3
        await asyncio.sleep(0.05)
    assert joined == {"user": {"id": "u1"}, "userErrors": []}
    assert (await join("u2"))["userErrors"] == [{"code": "NOT_YOURS"}]


async def test_the_token_is_no_credential_of_the_authorization_server(
    issuer: Issuer, http: httpx.AsyncClient, provider: IdentityProvider
) -> None:
    token = provider.token_of(CLIENT)
    form = {"grant_type": CLIENT_CREDENTIALS, "client_id": CLIENT, "client_secret": token}
    assert (await http.post("/oauth/token", data=form)).status_code == 401
    exchange = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    assert (await http.post("/oauth/token", data=exchange)).status_code == 401
    assert (await http.post("/oauth/token", data=exchange, auth=(CLIENT, SECRET))).json()["error"] == "invalid_request"
    me = await post(http, token, "{ me { id anonymous } }")
    assert me.json() == {"data": {"me": {"id": CLIENT, "anonymous": False}}}, "a user whose id is a client's is a user"
    assert codes(await post(http, token, "{ models { nodes { id } } }")) == ["FORBIDDEN"]
