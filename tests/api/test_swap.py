"""Models and catalogue change under load: no answer fails, none mixes two bundles, every process follows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from api.app import create_app
from core import clock
from core.contract import read_event
from core.settings import Gateway as Edge
from core.settings import Ingest, Settings, Stores, Tokens
from core.tasks import end
from core.uploads import Offer
from db.events import insert_events
from db.items import remove_items, upsert_items
from db.postgres import Pool
from db.serving import Model, promote, register_model
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.rfm import FALLBACK_EDGES
from ml.universe import COLUMNS, Universe
from tests.running import Running, register_client, running_gateway, until

BASE = "http://shop.example"
SWAPS, BUNDLES, ASKERS = 100, 6, 3
PROMISE = 5.0  # seconds until every process has followed
NOW = datetime(2026, 1, 5, tzinfo=UTC)
LIST = """query($id: ID!, $after: String) { user(id: $id) { recommendations(first: 4, after: $after) {
    modelVersion degraded edges { node { id } } pageInfo { endCursor } } } }"""


def bundle_of(folder: Path, numbers: dict[str, int], shelf: int, per_shelf: int = 10) -> Path:
    """A bundle that has only the items `seen` and `<shelf>-0`, `<shelf>-1`, ...: its lists show which bundle it is."""
    ids = sorted(["seen", *(f"{shelf}-{place}" for place in range(per_shelf))], key=numbers.__getitem__)
    n = len(ids)
    near = np.tile(np.arange(2, dtype=np.int32), (n + 1, 1))  # too few for a list: popular items fill it
    known = dict.fromkeys(COLUMNS, 0.0) | {"people": 3.0}
    universe = Universe(
        numbers=np.array([numbers[id] for id in ids], np.uint32),
        columns=np.tile(np.array(COLUMNS.ordered(known), np.float32), (n + 1, 1)),
        rest=np.full(n + 1, 6 * 3600, np.float32),
        near=near,
        near_score=np.full(near.shape, 0.9, np.float32),
        next=near,
        next_score=np.full(near.shape, 0.1, np.float32),
        popular=np.arange(n, dtype=np.int32),
    )
    weights = np.random.default_rng(shelf).normal(size=(len(FEATURES), 1)).astype(np.float32)
    return write(
        folder,
        universe,
        Network(kernels=(weights,), biases=(np.zeros(1, np.float32),)),
        item_ids=ids,
        rfm_edges=FALLBACK_EDGES,
        evaluation={"shelf": shelf},
        created_at=NOW,
    )


@pytest.fixture
def stores(stores: Stores, tmp_path: Path) -> Stores:
    """The stores, and a folder for the bundles of this test alone."""
    return stores.model_copy(update={"bundles": tmp_path / "bundles"})


@pytest.fixture
async def shelves(pool: Pool, stores: Stores) -> dict[str, str]:
    """Registered bundles that do not serve yet: by their ids, the shelf whose items they list."""
    ids = ["seen", *(f"{shelf}-{place}" for shelf in range(BUNDLES) for place in range(10))]
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ids])
    numbers = {row["id"]: row["number"] for row in await pool.fetch("SELECT id, number FROM items")}
    made = {}
    for shelf in range(BUNDLES):
        opened = AffinityModel.open(bundle_of(stores.bundles, numbers, shelf))
        await register_model(pool, Model(opened.id, "affinity", NOW, opened.digest, {}, None))
        made[opened.id] = str(shelf)
    view = {"type": "VIEW", "itemId": "seen", "userId": "u1"}
    await insert_events(pool, [read_event(view, source="shop", received_at=clock.now() - timedelta(hours=1))])
    await register_client(pool)
    return made


class Configured(Settings):
    """Settings over this worker's stores, with a gateway that polls often."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.gateway = Edge.model_validate({"public_url": BASE, "secret": "s" * 32, "serving_poll": 0.05})
        self.ingest = Ingest.model_validate({})
        self.tokens = Tokens.model_validate({})


@pytest.fixture
async def http(stores: Stores, pool: Pool, redis: Redis, shelves: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a socket; the first bundle serves already."""
    await promote(pool, next(iter(shelves)), "the first", {}, "test")
    app = create_app(Configured(stores))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state or {})
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url=BASE) as client:
            form = {"grant_type": "client_credentials"}
            granted = await client.post("/oauth/token", data=form, auth=("shop", "a-secret-of-the-client"))
            client.headers["authorization"] = f"Bearer {granted.json()['access_token']}"
            yield client


@dataclass
class Asker:
    """Requests one list after another and checks each."""

    http: httpx.AsyncClient
    shelves: dict[str, str]
    answers: int = 0
    wrong: list[Any] = field(default_factory=list)
    served: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Ask until cancelled: a first page, and the page after it."""
        while True:
            first = await self.ask(None)
            await self.ask(first["pageInfo"]["endCursor"])

    async def ask(self, after: str | None) -> Any:
        body = {"query": LIST, "variables": {"id": "u1", "after": after}}
        answer = await self.http.post("/graphql", json=body)
        found = answer.json()["data"]["user"]["recommendations"]
        shelf = self.shelves[found["modelVersion"]]
        listed = [edge["node"]["id"] for edge in found["edges"]]
        if "errors" in answer.json() or len(listed) < 4 or {id.partition("-")[0] for id in listed} - {shelf, "seen"}:
            self.wrong.append(answer.text)
        self.answers += 1
        self.served.add(found["modelVersion"])
        return found


async def test_swaps_under_load_fail_no_answer_and_mix_no_bundles(
    http: httpx.AsyncClient, pool: Pool, shelves: dict[str, str]
) -> None:
    askers = [Asker(http, shelves) for _ in range(ASKERS)]
    tasks = [asyncio.create_task(asker.run()) for asker in askers]
    ids = list(shelves)
    watch = Asker(http, shelves)
    for swap in range(1, SWAPS + 1):
        await promote(pool, ids[swap % BUNDLES], "swap", {}, "test")
        async with asyncio.timeout(PROMISE):
            while (await watch.ask(None))["modelVersion"] != ids[swap % BUNDLES]:
                pass
        assert not any(task.done() for task in tasks)
    await end(tasks)
    assert [wrong for asker in [*askers, watch] for wrong in asker.wrong] == []
    assert set().union(*(asker.served for asker in askers)) == set(shelves)
    assert min(asker.answers for asker in askers) > SWAPS


def asked(url: str, token: str, id: str = "u1") -> tuple[str | None, list[str]]:
    """Which model a running gateway answers with, and the items it lists."""
    body = {"query": LIST, "variables": {"id": id}}
    answer = httpx.post(f"{url}/graphql", json=body, headers={"authorization": f"Bearer {token}"}, timeout=30).json()
    found = answer["data"]["user"]["recommendations"]
    return found["modelVersion"], [edge["node"]["id"] for edge in found["edges"]]


def answers(gateway: tuple[str, str], holds: Callable[[str | None, list[str]], bool]) -> bool:
    """Whether the gateway's answer fulfils the condition now."""
    return holds(*asked(*gateway))


def refuses(gateway: Running, bundle: str) -> bool:
    """Whether the gateway reports that it refused the bundle, in its log and at /readyz."""
    logged = [line for line in gateway.log.read_text().splitlines() if '"bundle_refused"' in line and bundle in line]
    return bool(logged) and bool(httpx.get(f"{gateway.url}/readyz").json()["bundleRefused"])


async def agreed(gateways: Sequence[tuple[str, str]], holds: Callable[[str | None, list[str]], bool]) -> float:
    """Seconds until the answers of all these gateways fulfil the condition."""
    began = asyncio.get_running_loop().time()
    for gateway in gateways:
        await asyncio.to_thread(until, partial(answers, gateway, holds), "the gateway has followed")
    return asyncio.get_running_loop().time() - began


async def test_two_processes_agree_within_five_seconds(
    stores: Stores, pool: Pool, redis: Redis, shelves: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as stack:

        def start(name: str) -> Running:
            return stack.enter_context(running_gateway(stores, tmp_path / name, PENCHANT_PUBLIC_URL=BASE))

        running = [await asyncio.to_thread(start, name) for name in ("one.log", "two.log")]
        gateways = [(each.url, each.token()) for each in running]
        ids = list(shelves)
        for id in ids[:3]:
            await promote(pool, id, "swap", {}, "test")
            assert await agreed(gateways, lambda version, listed, id=id: version == id) < PROMISE  # type: ignore[misc]
        broken = ids[3]
        (stores.bundles / broken / "near.npy").unlink()
        await promote(pool, broken, "swap", {}, "test")
        for each in running:
            await asyncio.to_thread(until, partial(refuses, each, broken), "the gateway has refused")
        assert {asked(*gateway)[0] for gateway in gateways} == {ids[2]}
        await promote(pool, ids[2], "back", {}, "test", action="ROLLED_BACK")

        gone, out_of_stock = [id for id in asked(*gateways[0])[1] if id != "seen"][:2]
        await remove_items(pool, [gone])
        sold_out = [Offer(None, None, None, None, available=False)]
        await upsert_items(pool, [{"id": out_of_stock, "updated_at": clock.now(), "offers": sold_out}])
        assert await agreed(gateways, lambda _, listed: not {gone, out_of_stock} & set(listed)) < PROMISE
        for _ in range(50):
            for gateway in gateways:
                assert not {gone, out_of_stock} & set((await asyncio.to_thread(asked, *gateway))[1])
        await upsert_items(pool, [{"id": gone, "updated_at": clock.now()}])
        assert await agreed(gateways, lambda _, listed: gone in listed) < PROMISE
