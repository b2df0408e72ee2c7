"""What one gateway revokes, another refuses within three seconds, with Redis and without."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from core.settings import Stores
from db.accounts import disable_account
from db.clients import create_client, disable_client
from db.postgres import Pool
from tests.faults import Relay
from tests.people import LOGIN, Person, create_person, tokens_of
from tests.running import CLIENT, SECRET, register_client, running_gateway, running_issuer

WITHIN = 3.0  # seconds
BACK = "https://app.example/back"
SCOPE = "openid offline_access recommendations:read"
QUERY = {"query": "{ __typename }"}

Post = Callable[..., Awaitable[httpx.Response]]


async def accepted(http: httpx.AsyncClient, token: str) -> bool:
    """Whether a gateway accepts the token."""
    answer = await http.post("/graphql", json=QUERY, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


async def refused_within(http: httpx.AsyncClient, token: str, since: float) -> bool:
    """Ask with the token until the time is over; whether it was refused before."""
    while monotonic() < since + WITHIN:
        if not await accepted(http, token):
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("redis_is_there", [True, False])
async def test_what_one_gateway_revokes_another_refuses_within_three_seconds(
    stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel, tmp_path: Path, redis_is_there: bool
) -> None:
    await register_client(pool)
    await create_person(pool)
    app = register("app", grants=["authorization_code", "refresh_token"], scope=SCOPE, redirect_uris=[BACK])
    assert await create_client(pool, app)
    relay = Relay(stores.redis_url.get_secret_value())
    with ExitStack() as stack:
        cut = {"PENCHANT_REDIS_URL": await relay.open()}
        first = await asyncio.to_thread(stack.enter_context, running_issuer(stores, tmp_path / "one.log", **cut))
        cut["PENCHANT_PUBLIC_URL"] = first.url
        second = await asyncio.to_thread(stack.enter_context, running_gateway(stores, tmp_path / "two.log", **cut))
        own, other = [await asyncio.to_thread(first.token) for _ in range(2)]
        signed_in = [await asyncio.to_thread(tokens_of, Person(), first.url, "app", BACK, SCOPE) for _ in range(3)]
        if not redis_is_there:
            await relay.close()
        async with (
            httpx.AsyncClient(base_url=first.url, timeout=30) as one,
            httpx.AsyncClient(base_url=second.url, timeout=30) as two,
        ):
            for token in (own, other, *(tokens["access_token"] for tokens in signed_in)):
                assert await accepted(two, token)

            began = monotonic()
            revoked = await one.post("/oauth/revoke", data={"token": own}, auth=(CLIENT, SECRET))
            assert revoked.status_code == 200, revoked.text
            assert await refused_within(two, own, began)
            assert await accepted(two, other)

            by_app, by_replay, by_account = signed_in
            began = monotonic()
            revoked = await one.post("/oauth/revoke", data={"token": by_app["refresh_token"], "client_id": "app"})
            assert revoked.status_code == 200, revoked.text
            assert await refused_within(two, by_app["access_token"], began)

            form = {"grant_type": "refresh_token", "refresh_token": by_replay["refresh_token"], "client_id": "app"}
            renewed = await one.post("/oauth/token", data=form)
            assert renewed.status_code == 200, renewed.text
            began = monotonic()
            assert (await two.post("/oauth/token", data=form)).json()["error"] == "invalid_grant"
            for token in (by_replay["access_token"], renewed.json()["access_token"]):
                assert await refused_within(one, token, began)
                assert await refused_within(two, token, began)
            assert await accepted(two, by_account["access_token"])

            began = monotonic()
            assert await disable_account(pool, LOGIN)
            assert await refused_within(two, by_account["access_token"], began)

            began = monotonic()
            assert await disable_client(pool, CLIENT)
            assert await refused_within(two, other, began)
    await relay.close()
