"""Widely used JavaScript clients subscribe, and a federation router composes us with another subgraph."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.jobs import lease_job, request_job
from db.postgres import Pool
from tests.fixtures.node import TIMEOUT, start_node
from tests.running import Running, register_client, running_issuer

pytestmark = pytest.mark.node


@pytest.fixture
def gateway(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> Iterator[Running]:
    """A gateway, as a process."""
    with running_issuer(stores, tmp_path / "gateway.log") as started:
        yield started


async def test_graphql_ws_and_graphql_sse_follow_jobs(gateway: Running, pool: Pool, streams_in_js: Path) -> None:
    await register_client(pool)
    await request_job(pool, "affinity", "waits", "a test")
    process = start_node(streams_in_js / "subscriptions.mjs")
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"url": gateway.url, "token": gateway.token()}) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "subscribed\n", process.communicate(timeout=TIMEOUT)
    await lease_job(pool, "affinity")
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output + errors
    assert json.loads(output.splitlines()[-1]) == {
        "overWs": ["QUEUED", "RUNNING"],
        "overSse": ["QUEUED", "RUNNING"],
        "single": {"data": {"item": None}},
        "closed": 4403,
    }


async def test_a_router_answers_from_us_and_another_subgraph(
    stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path, streams_in_js: Path
) -> None:
    await register_client(pool)
    await upsert_items(pool, [{"id": "milk", "title": "Milk", "updated_at": clock.now()}])
    with running_issuer(stores, tmp_path / "gateway.log") as started:
        task = json.dumps({"url": started.url, "token": started.token()})
        process = start_node(streams_in_js / "router.mjs", task)
        output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output + errors
    got = json.loads(output.splitlines()[-1])
    assert got["answer"]["data"] == {
        "item": {"id": "milk", "title": "Milk", "stars": 2},
        "bestItem": {"title": "Milk"},
        "topReviewer": {"reviews": 4, "known": False},
        "user": {"anonymous": False, "reviews": 4},
    }
    assert got["scopes"] == '@requiresScopes(scopes: [["clients:admin"]])', "a router learns who may read a field"
