"""A new model is compared with what serves and with the anchor; one that learned the same is no new model."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.anchors import current_anchor, pin_anchor
from db.postgres import Pool
from db.serving import Model, current_serving, promote, prunable_bundles, register_model
from engine.models.rivals import ANCHOR, CHAMPION, Rivals, learned_the_same, open_rivals
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.evaluation import Evaluation, Score
from ml.log import Log
from ml.rfm import FALLBACK_EDGES
from ml.snapshot import snapshot

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
TRAINING = {"seed": 7, "settings": {"hidden": (64, 32)}, "code": {"ml_sha256": "a"}, "data": {"sha256": "b"}}


def bundle(folder: Path, weight: float, baseline: str | None = None, **training: Any) -> AffinityModel:
    log = Log.of(
        people=["user:1"],
        person=np.zeros(2, np.int32),
        item=np.array([1, 2], np.uint32),
        occurred=np.array([10, 20]),
        cents=np.ones(2, np.int64),
        order=np.arange(2),
        numbers=np.array([1, 2], np.uint32),
        item_ids=["a", "b"],
    )
    kernel = np.full((len(FEATURES), 1), weight, np.float32)
    path = write(
        folder,
        snapshot(log, log.numbers, 30),
        Network((kernel,), (np.zeros(1, np.float32),)),
        item_ids=log.item_ids,
        rfm_edges=FALLBACK_EDGES,
        evaluation={"baseline": baseline},
        created_at=MONDAY,
        training={"weights_sha256": str(weight), **TRAINING, "seed": weight, **training},
    )
    return AffinityModel.open(path)


async def register(pool: Pool, *models: AffinityModel) -> None:
    for each in models:
        await register_model(
            pool, Model(each.id, "affinity", MONDAY, each.digest, each.evaluation, None, each.training)
        )


def evaluation(**rivals: Score) -> Evaluation:
    return Evaluation(0, 100, 2, 1.0, {}, {}, "ranker", rivals=rivals)


async def test_what_serves_and_the_anchor_are_opened(pool: Pool, tmp_path: Path) -> None:
    assert await open_rivals(pool, tmp_path) == Rivals(None, None)
    best, now = bundle(tmp_path, 1.0), bundle(tmp_path, 2.0)
    await register(pool, best, now)
    await pin_anchor(pool, best.id)
    await promote(pool, now.id, "better", {}, "ada")
    found = await open_rivals(pool, tmp_path)
    assert {name: each.id for name, each in found.compared().items()} == {CHAMPION: now.id, ANCHOR: best.id}
    row = await current_serving(pool)
    assert row and row.bundle == now.id, "the anchor does not serve"


async def test_a_version_that_cannot_be_opened_is_not_compared(pool: Pool, tmp_path: Path) -> None:
    now = bundle(tmp_path, 2.0)
    await register(pool, now)
    await promote(pool, now.id, "better", {}, "ada")
    assert await open_rivals(pool, tmp_path / "elsewhere") == Rivals(None, None)


def test_each_trained_version_is_compared_once_and_baselines_are_anyway(tmp_path: Path) -> None:
    one, other, simple = bundle(tmp_path, 1.0), bundle(tmp_path, 2.0), bundle(tmp_path, 3.0, "popularity")
    assert set(Rivals(one, other).compared()) == {CHAMPION, ANCHOR}
    assert set(Rivals(one, one).compared()) == {CHAMPION}
    assert set(Rivals(simple, one).compared()) == {ANCHOR}
    assert set(Rivals(simple, None).compared()) == set()


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"seed": 8}, False),
        ({"settings": {"hidden": [64, 16]}}, False),
        ({"data": {"sha256": "c"}}, False),
        ({"code": {"ml_sha256": "c"}}, False),
        ({"refreshed_from": "x"}, True),
    ],
)
def test_the_same_data_code_settings_and_seed_learn_the_same(changed: dict[str, Any], same: bool) -> None:
    stored = {**TRAINING, "settings": {"hidden": [64, 32]}}  # as JSON gives it back
    assert learned_the_same(TRAINING, stored | changed) is same


def test_the_same_weights_are_the_same_model_and_unknown_trainings_are_not() -> None:
    assert learned_the_same({"weights_sha256": "a", "seed": 1}, {"weights_sha256": "a", "seed": 2})
    assert not learned_the_same({"weights_sha256": "a"}, {"weights_sha256": "b"})
    assert not learned_the_same({}, {})


def test_only_a_model_that_is_better_beyond_chance_becomes_the_anchor(tmp_path: Path) -> None:
    one, other = bundle(tmp_path, 1.0), bundle(tmp_path, 2.0)
    better, equal = Score(0.1, 0.01, 0.2), Score(0.1, -0.01, 0.2)
    assert Rivals(None, None).replaces_anchor(evaluation())
    assert Rivals(one, other).replaces_anchor(evaluation(champion=equal, anchor=better))
    assert not Rivals(one, other).replaces_anchor(evaluation(champion=better, anchor=equal))
    assert Rivals(one, one).replaces_anchor(evaluation(champion=better))
    assert not Rivals(one, one).replaces_anchor(evaluation(champion=equal))


async def test_the_anchor_is_never_deleted(pool: Pool, tmp_path: Path) -> None:
    models = [replace(bundle(tmp_path, weight)) for weight in (1.0, 2.0, 3.0)]
    await register(pool, *models)
    await pin_anchor(pool, models[1].id)
    assert await current_anchor(pool) == models[1].id
    newest = sorted(each.id for each in models)[-1]
    assert set(await prunable_bundles(pool, 1, MONDAY)) == {each.id for each in models} - {newest, models[1].id}
