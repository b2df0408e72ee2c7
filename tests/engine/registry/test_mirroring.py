"""MLflow, a real one on a file, mirrors what Postgres says and is repaired from it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from pydantic import SecretStr

from core import clock
from core.settings import Stores
from db.mlflow_mirror import claim_mirroring
from db.postgres import Pool
from db.serving import Model, model_by_id, promote, refuse, register_model, roll_back
from engine.registry.mirroring import mirror, name_of
from engine.registry.mlflow_client import Registry

NAME = name_of("affinity")
TRAINING = {
    "seed": 7,
    "settings": {"epochs": 6, "hidden": [64, 32]},
    "code": {"penchant": "0.1.0", "ml_sha256": "c0de"},
    "data": {"sha256": "da7a", "lines": 34, "from": "2025-01-01T00:00:00+00:00", "cut": "2026-01-01T00:00:00+00:00"},
    "validation": {"from": 1_764_547_200, "people": 900},
}
EVALUATION: dict[str, Any] = {
    "candidate": "ranker",
    "methods": {"ranker": {"ndcg_at_10": {"value": 0.2, "low": 0.19, "high": 0.21}}},
    "gate": {"verdict": "PROMOTED", "summary": "better than every baseline", "checks": []},
}


FORECAST: dict[str, Any] = {
    "candidate": "hazard_net",
    "people": 120,
    "came": 50,
    "days": 90,
    "methods": {"hazard_net": {"auc": {"value": 0.78, "low": 0.75, "high": 0.8}}},
    "curves": {"calibration": [[0.2, 0.25, 60], [0.8, 0.7, 60]], "gains": [[0.5, 0.8], [1.0, 1.0]]},
}


async def registered(pool: Pool, id: str, minutes: int) -> str:
    at = clock.now() + timedelta(minutes=minutes)
    await register_model(pool, Model(id, "affinity", at, f"digest of {id}", EVALUATION, None, TRAINING))
    return id


@pytest.mark.timeout(600)
async def test_mlflow_shows_the_models_and_what_serves_and_is_repaired(
    pool: Pool, stores: Stores, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    files = tmp_path / "reports"
    stores = stores.model_copy(update={"mlflow_url": SecretStr(url), "mlflow_artifacts": str(files)})
    away = stores.model_copy(update={"mlflow_url": SecretStr("postgresql://nobody@127.0.0.1:1/nothing")})
    first, second, third = [await registered(pool, id, minutes) for minutes, id in enumerate(("one", "two", "three"))]
    await promote(pool, first, "better", {}, "trainer")

    assert not await claim_mirroring(pool), "no trainer has MLflow"
    await mirror(pool, away)
    assert (await _model(pool, first)).registry_version is None
    assert await claim_mirroring(pool), "what is missing is registered later"
    assert not await claim_mirroring(pool), "asked once"

    await promote(pool, second, "better", {}, "trainer")
    await refuse(pool, third, "not better", {}, "trainer")
    await mirror(pool, stores)
    client = MlflowClient(url, url)
    assert aliases(client) == {"previous": first, "champion": second, "challenger": third}
    assert (await _model(pool, third)).registry_version == "3"
    assert not await claim_mirroring(pool)

    version = client.get_model_version_by_alias(NAME, "champion")
    run = client.get_run(str(version.run_id))
    assert run.info.run_name == second and version.description == "better than every baseline"
    parameters, tags = run.data.params, run.data.tags
    assert (parameters["seed"], parameters["settings.epochs"], parameters["settings.hidden"]) == ("7", "6", "[64, 32]")
    assert (parameters["data.cut"], parameters["data.sha256"]) == ("2026-01-01T00:00:00+00:00", "da7a")
    assert parameters["validation.from"] == "2025-12-01T00:00:00+00:00"
    assert (tags["code.ml_sha256"], tags["bundle.sha256"]) == ("c0de", f"digest of {second}")
    assert run.data.metrics["ranker.ndcg_at_10"] == 0.2
    assert run.data.metrics["ranker.ndcg_at_10.low"] == 0.19
    found = {Path(each.path).name for each in client.list_artifacts(run.info.run_id, "penchant")}
    assert found == {"report.html", "evaluation.json", "training.json"}, "where MLflow's own interface looks"
    text = await asyncio.to_thread(client.download_artifacts, run.info.run_id, "penchant/training.json", str(tmp_path))
    assert json.loads(await asyncio.to_thread(Path(text).read_text)) == TRAINING

    await roll_back(pool, "worse since", "ada")
    assert await claim_mirroring(pool), "a rollback is mirrored"
    client.delete_model_version(NAME, version.version)
    await mirror(pool, stores)
    assert aliases(client)["champion"] == first
    again = {each.tags["bundle"]: each.version for each in client.search_model_versions(f"name = '{NAME}'")}
    assert again.keys() == {first, second, third}, "a lost version is registered again"
    assert (await _model(pool, second)).registry_version == str(again[second])


@pytest.mark.timeout(600)
async def test_a_forecast_is_a_registered_model_of_its_own(pool: Pool, stores: Stores, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    stores = stores.model_copy(update={"mlflow_url": SecretStr(url), "mlflow_artifacts": str(tmp_path / "reports")})
    await promote(pool, await registered(pool, "lists", 0), "better", {}, "trainer")
    for minutes, id in enumerate(("early", "late"), 1):
        at = clock.now() + timedelta(minutes=minutes)
        await register_model(pool, Model(id, "forecast", at, f"digest of {id}", FORECAST, None, TRAINING))
        await promote(pool, id, "as good", {}, "trainer")
    await mirror(pool, stores)
    client = MlflowClient(url, url)
    assert aliases(client) == {"champion": "lists"}
    assert aliases(client, name_of("forecast")) == {"previous": "early", "champion": "late"}
    version = client.get_model_version_by_alias(name_of("forecast"), "champion")
    run = client.get_run(str(version.run_id))
    assert run.data.metrics["hazard_net.auc"] == 0.78
    text = await asyncio.to_thread(client.download_artifacts, run.info.run_id, "penchant/report.html", str(tmp_path))
    report = await asyncio.to_thread(Path(text).read_text)
    assert "Who orders again" in report and "120 people, of whom 50 ordered within 90 days" in report

    assert not await claim_mirroring(pool)
    assert (await roll_back(pool, "worse since", "ada", "forecast")).bundle == "early"
    assert await claim_mirroring(pool), "a rollback of the forecast is mirrored too"
    await mirror(pool, stores)
    assert aliases(client, name_of("forecast"))["champion"] == "early"


async def _model(pool: Pool, id: str) -> Model:
    found = await model_by_id(pool, id)
    assert found
    return found


def aliases(client: MlflowClient, name: str = NAME) -> dict[str, str]:
    """The bundle of each alias."""
    registered = client.get_registered_model(name)
    versions = {alias: client.get_model_version(name, version) for alias, version in registered.aliases.items()}
    return {alias: version.tags["bundle"] for alias, version in versions.items()}


def test_a_registry_that_is_away_is_given_up_within_seconds() -> None:
    began = clock.now()
    with pytest.raises(Exception, match="refused"):
        Registry("postgresql://nobody@127.0.0.1:1/nothing").versions(NAME)
    assert (clock.now() - began).total_seconds() < 60
