"""A list that began at one gateway goes on at another: after events, a promotion, and at one that started later."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from db.serving import Model, promote, register_model
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.rfm import FALLBACK_EDGES
from ml.universe import COLUMNS, Universe
from tests.running import Running, register_client, running_gateway, until

IDS = [f"i{number:02}" for number in range(60)]
LIST = """query ($first: Int!, $after: String) { user(id: "anna") {
  recommendations(first: $first, after: $after, placement: "home") {
    modelVersion asOf nodes { id } pageInfo { endCursor } } } }"""
PAGE = """query ($requests: [PlacementRequest!]!) { user(id: "anna") { page(requests: $requests) {
  key recommendations { modelVersion impressionId nodes { id } } } } }"""
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """The stores, and a folder for the bundles of this test alone."""
    return stores.model_copy(update={"bundles": tmp_path / "bundles"})


async def promote_bundle(pool: Pool, folder: Path, seed: int) -> str:
    """Write a bundle of all items, whose order depends on the seed, and let it serve."""
    numbers = {row["id"]: row["number"] for row in await pool.fetch("SELECT id, number FROM items")}
    ids = sorted(IDS, key=numbers.__getitem__)
    n = len(ids)
    random = np.random.default_rng(seed)
    columns = random.normal(size=(n + 1, len(COLUMNS))).astype(np.float32)
    next_one = np.tile(((np.arange(n + 1) + 1) % n).astype(np.int32)[:, None], (1, 2))
    universe = Universe(
        numbers=np.array([numbers[id] for id in ids], np.uint32),
        columns=columns,
        rest=np.full(n + 1, 6 * 3600, np.float32),
        near=next_one,
        near_score=np.full((n + 1, 2), 0.9, np.float32),
        next=next_one,
        next_score=np.zeros((n + 1, 2), np.float32),
        popular=random.permutation(n).astype(np.int32),
    )
    weights = random.normal(size=(len(FEATURES), 1)).astype(np.float32)
    path = write(
        folder,
        universe,
        Network(kernels=(weights,), biases=(np.zeros(1, np.float32),)),
        item_ids=ids,
        rfm_edges=FALLBACK_EDGES,
        evaluation={"seed": seed},
        created_at=clock.now(),
    )
    opened = AffinityModel.open(path)
    await register_model(pool, Model(opened.id, "affinity", opened.created_at, opened.digest, {}, None))
    await promote(pool, opened.id, "a test says so", {}, "test")
    return opened.id


def post(gateway: Running, token: str, query: str, **variables: Any) -> dict[str, Any]:
    """The whole answer."""
    headers = {"authorization": f"Bearer {token}"}
    body = {"query": query, "variables": variables}
    answer: dict[str, Any] = httpx.post(f"{gateway.url}/graphql", json=body, headers=headers, timeout=30).json()
    return answer


def listed(gateway: Running, token: str, first: int, after: str | None = None) -> dict[str, Any]:
    answer = post(gateway, token, LIST, first=first, after=after)
    assert "errors" not in answer, answer
    found: dict[str, Any] = answer["data"]["user"]["recommendations"]
    return found


def serves(gateway: Running, token: str, bundle: str) -> bool:
    return bool(listed(gateway, token, 1)["modelVersion"] == bundle)


def ids(found: Mapping[str, Any]) -> Sequence[str]:
    return [node["id"] for node in found["nodes"]]


async def test_a_list_goes_on_at_another_gateway_after_an_event_and_a_promotion(
    stores: Stores, pool: Pool, redis: Redis, tmp_path: Path
) -> None:
    await register_client(pool)
    await upsert_items(pool, [{"id": id, "updated_at": clock.now() - timedelta(days=1)} for id in IDS])
    before = await promote_bundle(pool, stores.bundles, seed=1)
    with ExitStack() as stack:
        one, other = (stack.enter_context(running_gateway(stores, tmp_path / f"{name}.log")) for name in "ab")
        token = one.token()
        event = {"type": "PURCHASE", "userId": "anna", "itemId": "i40"}
        assert post(one, token, TRACK, events=[event])["data"]["trackEvents"]["accepted"] == 1
        whole = ids(listed(one, token, 60))
        first = listed(one, token, 10)
        assert ids(first) == whole[:10]
        after = first["pageInfo"]["endCursor"]
        events = [
            {"type": kind, "userId": "anna", "itemId": whole[at]} for kind, at in (("VIEW", 30), ("PURCHASE", 25))
        ]
        assert post(other, token, TRACK, events=events)["data"]["trackEvents"]["accepted"] == 2
        expected = [id for id in whole[10:] if id != whole[25]]
        assert ids(listed(other, token, 60, after)) == expected, "what was bought meanwhile is gone"
        assert ids(listed(other, token, 60)) != whole

        newer = await promote_bundle(pool, stores.bundles, seed=2)
        for gateway in (one, other):
            until(partial(serves, gateway, token, newer), "the promoted bundle serves")
        started_later = stack.enter_context(running_gateway(stores, tmp_path / "c.log"))
        assert listed(started_later, token, 1)["modelVersion"] == newer
        for gateway in (one, other, started_later):
            rest = listed(gateway, token, 60, after)
            assert (rest["modelVersion"], rest["asOf"]) == (before, first["asOf"])
            assert ids(rest) == expected

        forged = post(other, token, LIST, first=5, after=after[:-4] + "AAAA")
        assert forged["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": ["after"]}
        wrong = {"price": {"min": "-1"}}
        requests = [
            {"key": key, "placement": "home", "first": 3, "filter": wrong if key == "b" else None} for key in "abc"
        ]
        page = post(other, token, PAGE, requests=requests)
        (error,) = page["errors"]
        assert error["path"] == ["user", "page", 1, "recommendations"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": ["filter", "price"]}
        assert [slot["recommendations"] is None for slot in page["data"]["user"]["page"]] == [False, True, False]
