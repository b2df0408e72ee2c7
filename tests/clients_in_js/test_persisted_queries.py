"""Apollo Client and urql use automatic persisted queries by GET and POST against a real gateway."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.oauth.grant_types import CLIENT_CREDENTIALS
from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from tests.erasing import authorize
from tests.fixtures.node import TIMEOUT, start_node
from tests.running import register_client, running_gateway

pytestmark = pytest.mark.node


async def test_texts_are_sent_once_and_hashes_after_that(
    stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path, clients_in_js: Path
) -> None:
    await register_client(pool)
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap")])
    with running_gateway(stores, tmp_path / "gateway.log") as gateway:
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            await authorize(client, grant_type=CLIENT_CREDENTIALS)
            token = client.headers["authorization"].removeprefix("Bearer ")
        process = start_node(clients_in_js / "persisted_queries.mjs", f"{gateway.url}/graphql", token)
        output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output[-2_000:] + errors
    got = json.loads(output.splitlines()[-1])
    assert got["get"]["sent"] == ["GET hash 200", "POST text 200", "GET hash 200"]
    assert got["post"]["sent"] == ["POST hash 200", "POST text 200", "POST hash 200"]
    assert got["urql"]["sent"] == ["GET hash 200", "GET text 200", "GET hash 200"]
    assert {kind: len(one["answers"]) for kind, one in got.items()} == {"get": 2, "post": 2, "urql": 2}
