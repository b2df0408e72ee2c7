"""A personalized answer asks Redis once: the limits and the person's state in one piece each way."""

import pytest

from benchmarks.answer import QUERY
from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from tests.api.limits.conftest import Gateway
from tests.faults import Relay


@pytest.mark.parametrize("rates", [{}, {"rate_client": "1000/day"}, {"rate_client": "off", "rate_person": "off"}])
async def test_an_answer_takes_one_round_trip(
    limited: Gateway, stores: Stores, pool: Pool, rates: dict[str, str]
) -> None:
    await upsert_items(pool, [{"id": f"i{number}", "updated_at": clock.now()} for number in range(30)])
    relay = Relay(stores.redis_url.get_secret_value())
    through = stores.model_copy(update={"redis_url": type(stores.redis_url)(await relay.open()), "redis_timeout": 30})
    body = {"query": QUERY, "variables": {"id": "anna"}}
    try:
        async with limited(through, **rates) as http:
            for _ in range(2):  # the first builds the base of the person, and sends the script of the limits
                await http.post("/graphql", json=body)
            pieces = []
            for _ in range(5):
                relay.passed.clear()
                answer = (await http.post("/graphql", json=body)).json()
                assert len(answer["data"]["user"]["recommendations"]["edges"]) == 20
                pieces.append([*relay.passed])
            fewest = min(pieces, key=len)  # checks of the stores may pass at the same moment
            assert [by_client for by_client, _ in fewest] == [True, False]
            asked = fewest[0][1]
            limited_by = 0 if rates.get("rate_client") == "off" else 1
            assert (asked.count(b"EVALSHA"), asked.count(b"\r\nMGET\r\n"), asked.count(b"ZRANGE")) == (limited_by, 1, 1)
    finally:
        await relay.close()
