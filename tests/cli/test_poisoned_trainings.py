"""Whatever ends or spoils a training, what serves goes on with the same lists, and the next training succeeds."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from core import clock
from core.errors import PenchantError
from core.settings import Stores
from db.items import upsert_items
from db.jobs import AFFINITY, list_jobs
from db.postgres import Pool, connect_pool
from db.serving import Model, current_serving, list_decisions, promote, register_model
from engine.models.training import as_log, stored_purchases
from ml import bundle
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.evaluation import Evaluation, Score
from ml.log import NothingToLearn
from ml.rfm import FALLBACK_EDGES
from ml.snapshot import best_supported, snapshot
from tests.cli.test_train import lines
from tests.commands import invoke
from tests.loaded_shops import load_shop
from tests.running import Running, environment, register_client, running_gateway

SAME = {"ndcg_at_10": Score(0.1, 0.1, 0.1)}
ITEMS = 65  # the last five are never sold
LIST = """{ user(id: "u1") { recommendations(first: 8, preview: true) { modelVersion edges { node { id } } } } }"""


class Learned:
    """What a training of five people learned, which the gate refuses."""

    evaluation = Evaluation(0, 5, 80, 2.0, {"ranker": SAME, "popularity": SAME}, {}, "ranker")
    training: Mapping[str, Any] = {}

    def with_gate(self, gate: object) -> "Learned":
        """As a trained model."""
        return self

    def write(self, folder: Path, created_at: datetime) -> Path:
        """As a trained model."""
        return bundle.write(folder, "test", {"evaluation": {}, "training": {}}, created_at)


async def learned(_: Pool, kind: str, *rest: object) -> tuple[Learned, None]:
    if kind != AFFINITY:
        raise NothingToLearn("Too few weeks for a forecast.")
    return Learned(), None


async def diverged(*_: object) -> None:
    """As a training whose loss became NaN ends: see `tests/ml/affinity/test_odd_logs.py`."""
    raise PenchantError("The exported ranker does not rank like the Keras model.")


async def champion(pool: Pool, folder: Path) -> str:
    """Register and promote a model of the loaded shop; its id."""
    log = as_log(await stored_purchases(pool, None), {})
    numbers, as_of = best_supported(log, ITEMS), int(log.occurred.max()) + 1
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    weights = np.array(FEATURES.ordered(dict.fromkeys(FEATURES, 0.0) | {"lines": 1.0}), np.float32)[:, None]
    path = write(
        folder,
        snapshot(log, numbers, as_of),
        Network((weights,), (np.zeros(1, np.float32),)),
        item_ids=[id_of[number] for number in numbers.tolist()],
        rfm_edges=FALLBACK_EDGES,
        evaluation={"people": 500},
        created_at=clock.now(),
        training={"settings": {"item_limit": ITEMS}},
    )
    opened = AffinityModel.open(path)
    await register_model(pool, Model(opened.id, AFFINITY, opened.created_at, opened.digest, {}, None, opened.training))
    await promote(pool, opened.id, "the first", {}, "tests")
    return opened.id


class Shop:
    """A shop whose champion serves: it is trained on, and its lists are read from a gateway."""

    def __init__(self, stores: Stores, gateway: Running, folder: Path) -> None:
        self.stores, self.gateway, self.folder = stores, gateway, folder
        self._token = gateway.token()
        self.before = self.asked()

    def asked(self) -> Any:
        """The model and items of a list, as the gateway answers it now."""
        headers = {"authorization": f"Bearer {self._token}"}
        answer = httpx.post(f"{self.gateway.url}/graphql", json={"query": LIST}, headers=headers, timeout=30)
        return answer.json()["data"]["user"]["recommendations"]

    def now(self) -> tuple[str, str]:
        """The state and error of the newest training of the lists; what serves and its list are as before."""

        async def read() -> tuple[str, str, str | None]:
            async with await connect_pool(self.stores.postgres_url.get_secret_value(), size=1) as pool:
                row = await current_serving(pool)
                job = next(each for each in await list_jobs(pool, 10) if each.kind == AFFINITY)
                assert row
                assert [each.action for each in await list_decisions(pool, 20)].count("PROMOTED") == 1
                return row.bundle, job.state, job.error

        serving, state, error = asyncio.run(read())
        assert serving == self.before["modelVersion"] and self.asked() == self.before
        return state, error or ""

    def unfinished(self) -> list[str]:
        """Folders that a training left half written."""
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.fixture
def shop(stores: Stores, pool: Pool, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Twelve people who buy; all items have the same words, as in a shop that never wrote any."""
    stores = stores.model_copy(update={"bundles": tmp_path / "bundles"})
    for name, value in environment(stores).items():
        if name.startswith("PENCHANT_"):
            monkeypatch.setenv(name, value)
    load_shop(tmp_path, ITEMS, lines(-300, 0, people=12))

    async def prepared() -> None:
        async with await connect_pool(stores.postgres_url.get_secret_value(), size=1) as pool:
            at = clock.now()
            await upsert_items(
                pool,
                [
                    {"id": f"i{item}", "updated_at": at, "title": "thing", "categories": ["things"]}
                    for item in range(ITEMS)
                ],
            )
            await champion(pool, stores.bundles)
            await register_client(pool)

    asyncio.run(prepared())
    with running_gateway(stores, tmp_path / "gateway.log") as gateway:
        yield Shop(stores, gateway, stores.bundles)


def killed(*_: Any, **__: Any) -> Any:
    """A step of a training at which its process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Train in a process of its own, which is killed at this step."""
    child = os.fork()
    if not child:
        monkeypatch.setattr(step, killed)
        invoke("train")
        os._exit(1)  # it went on
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.timeout(300)
def test_a_spoiled_training_changes_nothing_that_serves_and_the_next_one_succeeds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.training._learn", learned)
    for step in ("engine.models.training._learn", "ml.bundle._seal"):
        train_and_die(monkeypatch, step)
        assert shop.now()[0] == "RUNNING", "nobody could say that it ended"
    assert len(shop.unfinished()) == 1, "its half bundle is deleted later"
    with monkeypatch.context() as broken:
        broken.setattr("engine.models.training._learn", diverged)
        assert invoke("train").exit_code == 1
    state, error = shop.now()
    assert state == "FAILED" and "does not rank" in error
    for spoil in (None, truncated, of_another_digest, no_json):
        if spoil:
            spoil(shop.folder / shop.before["modelVersion"])
        ended = invoke("train")
        assert ended.exit_code == 0 and "too few people" in ended.output, (spoil, ended.output)
        assert shop.now()[0] == "SUCCEEDED"


def replaced(file: Path, content: bytes) -> None:
    """Put another file in its place, as a copy that went wrong does; those who mapped the old one keep it."""
    other = file.with_name("other")
    other.write_bytes(content)
    other.rename(file)


def truncated(bundle: Path) -> None:
    replaced(bundle / "columns.npy", (bundle / "columns.npy").read_bytes()[:-20])


def of_another_digest(bundle: Path) -> None:
    content = bytearray((bundle / "near.npy").read_bytes())
    content[-1] ^= 1
    replaced(bundle / "near.npy", bytes(content))


def no_json(bundle: Path) -> None:
    replaced(bundle / "manifest.json", b"\x80\x04}q\x00.")
