"""A flood while Redis goes away and comes back: always limited, never an error of ours."""

import asyncio
from collections import Counter

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from core.settings import Stores
from tests.api.limits.conftest import Gateway
from tests.faults import Relay, eventually

LIMIT = 300
CALLERS = 20


@pytest.mark.parametrize("mute", [False, True], ids=["refuses", "does not answer"])
async def test_the_loss_of_redis_in_a_flood(limited: Gateway, stores: Stores, redis: Redis, mute: bool) -> None:
    relay = Relay(stores.redis_url.get_secret_value())
    through = stores.model_copy(update={"redis_url": SecretStr(await relay.open()), "redis_timeout": 0.2})
    statuses: Counter[int] = Counter()

    async def flood(http: httpx.AsyncClient, calls: int) -> None:
        for _ in range(calls):
            answer = await http.post("/graphql", json={"query": "{ __typename }"})
            statuses[answer.status_code] += 1
            assert "ratelimit" in answer.headers

    async with limited(through, rate_client=f"{LIMIT}/day") as http:
        flooding = [asyncio.create_task(flood(http, 40)) for _ in range(CALLERS)]
        await eventually(lambda: _more_than(statuses, 100))
        await relay.close()
        if mute:
            await relay.open(mute=True)
        await asyncio.gather(*flooding)
        assert statuses.keys() == {200, 429}
        assert LIMIT <= statuses[200] <= 2 * LIMIT, "the shared limit, and that of this process once"
        assert (await http.post("/graphql", json={"query": "{ __typename }"})).status_code == 429
        await redis.delete(*[key async for key in redis.scan_iter("rate:*")])
        await relay.close()
        await relay.open()

        async def shared_again() -> bool:
            answer = await http.post("/graphql", json={"query": "{ __typename }"})
            return answer.status_code == 200 and [key async for key in redis.scan_iter("rate:client:*")] != []

        await eventually(shared_again)
    await relay.close()


async def _more_than(statuses: Counter[int], count: int) -> bool:
    return statuses.total() > count
