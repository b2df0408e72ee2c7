"""Two gateway processes count for the same limits; an honest caller beside a flood is answered."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from db.rate_limits import ClientLimits, set_client_limits
from engine.scopes import SCOPES
from tests.running import CLIENT, SECRET, register_client, running_gateway

LIMIT, CALLS = 100, 400
QUERY = {"query": "{ __typename }"}


async def test_two_gateways_share_a_limit_and_an_honest_caller_is_answered(
    stores: Stores, pool: Pool, redis: Redis, tmp_path: Path
) -> None:
    await register_client(pool)
    await create_client(pool, register("honest", SECRET, grants=[CLIENT_CREDENTIALS], scope=" ".join(SCOPES)))
    await set_client_limits(pool, CLIENT, ClientLimits(f"{LIMIT}/day"))
    with (
        running_gateway(stores, tmp_path / "first.log", "--processes", "2") as first,
        running_gateway(stores, tmp_path / "second.log") as second,
    ):
        async with httpx.AsyncClient(timeout=30) as http:
            tokens = [await _token(http, first.url, client) for client in (CLIENT, "honest")]
            flood, honest = [{"authorization": f"Bearer {token}"} for token in tokens]
            for url in (first.url, second.url):  # both know the client's own limit
                assert (await http.post(f"{url}/graphql", json=QUERY, headers=flood)).status_code == 200
            urls = [f"{gateway.url}/graphql" for gateway in (first, second)]
            calls = [http.post(urls[number % 2], json=QUERY, headers=flood) for number in range(CALLS)]
            others = [http.post(urls[number % 2], json=QUERY, headers=honest) for number in range(50)]
            answers = await asyncio.gather(*calls, *others)
            statuses = Counter(answer.status_code for answer in answers[:CALLS])
            assert statuses == {200: LIMIT - 2, 429: CALLS - LIMIT + 2}
            assert {answer.status_code for answer in answers[CALLS:]} == {200}


async def _token(http: httpx.AsyncClient, url: str, client: str) -> str:
    """An access token; the client is not known in this process yet, so its address pays for the request."""
    form = {"grant_type": "client_credentials"}
    answer = await http.post(f"{url}/oauth/token", data=form, auth=(client, SECRET))
    found: str = answer.json()["access_token"]
    return found
