"""`forget`: people erase themselves, users with their guests and guests alone; nobody with one token."""

from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core.settings import Stores
from db.postgres import Pool
from tests.erasing import (
    ABOUT,
    DESCRIBE,
    IDENTIFY,
    NOBODY,
    RECEIPT,
    ask,
    authorize,
    carry_on,
    drain,
    event,
    states,
    tables_with,
    track,
)
from tests.faults import eventually
from workers.process import Connections

FORGET = """mutation ($confirmation: String) { forget(confirmation: $confirmation) {
  confirmation expiresAt erasedAt receiptId userErrors { code field } } }"""


async def as_person(http: httpx.AsyncClient, id: str, kind: str = USER_ID) -> None:
    """Ask with a new token of a person from now on."""
    scopes = "events:write profiles:read recommendations:read"
    await authorize(http, grant_type=TOKEN_EXCHANGE, subject_token=id, subject_token_type=kind, scope=scopes)


async def forget(http: httpx.AsyncClient, id: str, kind: str = USER_ID) -> dict[str, Any]:
    """The person takes both steps. A newer token is one that was issued in a later second."""
    await as_person(http, id, kind)
    asked = await ask(http, FORGET)
    assert asked["expiresAt"] and asked["erasedAt"] is None and asked["userErrors"] == []
    same = await ask(http, FORGET, confirmation=asked["confirmation"])
    assert [error["code"] for error in same["userErrors"]] == ["NOT_CONFIRMED"]
    done: list[dict[str, Any]] = []

    async def is_erased() -> bool:
        await as_person(http, id, kind)
        done.append(await ask(http, FORGET, confirmation=asked["confirmation"]))
        return not done[-1]["userErrors"]

    await eventually(is_erased)
    assert done[-1]["erasedAt"] and done[-1]["confirmation"] is None
    return done[-1]


async def test_a_user_is_erased_with_their_guests_and_the_shop_has_a_receipt(
    http: httpx.AsyncClient,
    stores: Stores,
    channel: AbstractChannel,
    connections: Connections,
    pool: Pool,
    redis: Redis,
) -> None:
    await ask(http, DESCRIBE)
    await track(http, event("e1"), event("e2", anonymousId="g-1", type="VIEW"), event("e3", userId="bert"))
    await drain(channel, connections)
    await ask(http, IDENTIFY)
    erased = await forget(http, "anna")
    await authorize(http, grant_type=CLIENT_CREDENTIALS)
    assert await ask(http, ABOUT) == NOBODY
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM events")] == ["bert"]
    assert await track(http, event("e1")) == [("REJECTED", "NOT_KEPT")]
    assert await carry_on(stores, pool, redis) == 1
    assert "PENDING" not in states(await ask(http, RECEIPT, id=erased["receiptId"])).values()
    for id in ("anna", "g-1"):
        assert await tables_with(pool, id) == []


async def test_a_guest_is_erased_alone(
    http: httpx.AsyncClient, channel: AbstractChannel, connections: Connections, pool: Pool
) -> None:
    await track(http, event("e1"), event("e2", anonymousId="g-2", type="VIEW"))
    await drain(channel, connections)
    await forget(http, "g-2", ANONYMOUS_ID)
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM events")] == ["anna"]
    assert await pool.fetchval("SELECT count(*) FROM events WHERE anonymous_id = 'g-2'") == 0


async def test_a_clients_own_token_cannot_forget(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json={"query": FORGET})
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["FORBIDDEN"]


@pytest.mark.parametrize("confirmation", ["", "x" * 5_000])
async def test_an_odd_confirmation_is_refused(http: httpx.AsyncClient, confirmation: str) -> None:
    await as_person(http, "anna")
    refused = await ask(http, FORGET, confirmation=confirmation)
    assert [error["code"] for error in refused["userErrors"]] == ["NOT_CONFIRMED"]
