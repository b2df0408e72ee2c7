"""Models promoted and rolled back by people: within the gate, or past it on request, which is recorded."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from api.gateway import Gateway
from cli.main import app
from core import clock
from db.items import upsert_items
from db.serving import Model, current_serving, list_decisions, promote, refuse, register_model
from ml.affinity.model import AffinityModel
from ml.affinity.network import Network
from ml.hazard.examples import BINS
from ml.hazard.features import FEATURES as FORECAST_FEATURES
from ml.hazard.model import Forecaster, write
from tests.fixtures.gateway import Ask, MakeBundle, Serve

PROMOTE = """mutation ($id: ID!, $reason: String!, $override: Boolean! = false) {
  promoteModel(id: $id, reason: $reason, overrideGate: $override) {
    model { id serving } userErrors { code field message } } }"""
ROLL_BACK = """mutation ($reason: String!, $kind: String! = "affinity") { rollBackModel(reason: $reason, kind: $kind) {
  model { id serving } userErrors { code field message } } }"""


@pytest.fixture
async def two(
    gateway: Gateway,
    make_bundle: MakeBundle,
    serving: Serve,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    postgres_url: str,
) -> list[Path]:
    """The bundles of two models, promoted one after another, in the folder of the settings."""
    for name, nowhere in (("REDIS_URL", "redis://127.0.0.1:1"), ("BROKER_URL", "x://nowhere")):
        monkeypatch.setenv(f"PENCHANT_{name}", nowhere)
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PENCHANT_BUNDLES", str(tmp_path / "bundles"))
    await upsert_items(gateway.pool, [{"id": id, "updated_at": clock.now()} for id in "abc"])
    await gateway.catalogue.refresh()
    paths = [make_bundle(gateway.catalogue, "abc", seed=seed) for seed in range(2)]
    for path in paths:
        await serving(gateway.pool, path)
    return paths


async def refused(gateway: Gateway, path: Path) -> str:
    """The id of a model that the gate refused."""
    opened = AffinityModel.open(path)
    await register_model(gateway.pool, Model(opened.id, "affinity", opened.created_at, "d", {}, None))
    await refuse(gateway.pool, opened.id, "not better", {}, "gate")
    return opened.id


async def served(gateway: Gateway) -> str:
    row = await current_serving(gateway.pool)
    assert row is not None
    return row.bundle


async def test_a_model_that_passed_the_gate_is_promoted_again(ask: Ask, gateway: Gateway, two: list[Path]) -> None:
    payload = (await ask(PROMOTE, {"id": two[0].name, "reason": "it sold more"})).data["promoteModel"]
    assert payload == {"model": {"id": two[0].name, "serving": True}, "userErrors": []}
    (newest,) = await list_decisions(gateway.pool, 1)
    assert (newest.bundle, newest.reason, newest.decided_by) == (two[0].name, "it sold more", "tests")


async def test_the_gate_is_overridden_only_on_request(
    ask: Ask, gateway: Gateway, two: list[Path], make_bundle: MakeBundle
) -> None:
    id = await refused(gateway, make_bundle(gateway.catalogue, "abc", seed=9))
    payload = (await ask(PROMOTE, {"id": id, "reason": "I like it"})).data["promoteModel"]
    assert payload["model"] is None and payload["userErrors"][0]["code"] == "GATE_REFUSED"
    assert "not better" in payload["userErrors"][0]["message"]
    assert await served(gateway) == two[1].name
    payload = (await ask(PROMOTE, {"id": id, "reason": "I like it", "override": True})).data["promoteModel"]
    assert payload["model"] == {"id": id, "serving": True}
    assert (await list_decisions(gateway.pool, 1))[0].evidence == {"override_gate": True}


async def test_a_model_whose_bundle_is_missing_is_not_promoted(ask: Ask, gateway: Gateway, two: list[Path]) -> None:
    shutil.rmtree(two[0])
    for payload in (
        (await ask(PROMOTE, {"id": two[0].name, "reason": "back"})).data["promoteModel"],
        (await ask(ROLL_BACK, {"reason": "back"})).data["rollBackModel"],
    ):
        assert payload["model"] is None and payload["userErrors"][0]["code"] == "CANNOT_SERVE"
    assert await served(gateway) == two[1].name


@pytest.mark.parametrize(
    ("id", "reason", "field"),
    [
        ("ghost", "why not", "id"),
        ("a\x00", "why not", "id"),
        (None, "  ", "reason"),
        (None, "a\x00", "reason"),
        (None, "x" * 501, "reason"),
    ],
)
async def test_a_wrong_promotion_is_a_user_error(
    ask: Ask, two: list[Path], id: str | None, reason: str, field: str
) -> None:
    payload = (await ask(PROMOTE, {"id": id or two[0].name, "reason": reason})).data["promoteModel"]
    assert payload["model"] is None
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("BAD_USER_INPUT", [field])]


async def test_a_rollback_returns_to_the_previous_model_until_there_is_none(
    ask: Ask, gateway: Gateway, two: list[Path]
) -> None:
    payload = (await ask(ROLL_BACK, {"reason": "sales fell"})).data["rollBackModel"]
    assert payload == {"model": {"id": two[0].name, "serving": True}, "userErrors": []}
    assert (await list_decisions(gateway.pool, 1))[0].action == "ROLLED_BACK"
    payload = (await ask(ROLL_BACK, {"reason": "still"})).data["rollBackModel"]
    assert payload["model"] is None and "Nothing served before" in payload["userErrors"][0]["message"]


async def test_a_forecast_is_rolled_back_beside_the_lists(
    ask: Ask, gateway: Gateway, two: list[Path], tmp_path: Path
) -> None:
    n, ids = len(FORECAST_FEATURES), []
    for weight in (1.0, 2.0):
        low, high, middle = (np.full(n, value, np.float32) for value in (-9, 9, 0))
        net = Network((np.full((n, BINS), weight, np.float32),), (np.zeros(BINS, np.float32),))
        at = clock.now()
        path = write(
            tmp_path / "bundles", Forecaster(net, low, high, middle), evaluation={}, training={}, created_at=at
        )
        await register_model(gateway.pool, Model(path.name, "forecast", at, "d", {}, None))
        await promote(gateway.pool, path.name, "as good", {}, "gate")
        ids.append(path.name)
    payload = (await ask(ROLL_BACK, {"reason": "worse", "kind": "forecast"})).data["rollBackModel"]
    assert payload == {"model": {"id": ids[0], "serving": True}, "userErrors": []}
    assert await served(gateway) == two[1].name, "the lists keep their model"
    payload = (await ask(ROLL_BACK, {"reason": "worse", "kind": "weather"})).data["rollBackModel"]
    assert payload["userErrors"][0]["message"] == "There is no kind of model 'weather'; known: affinity, forecast."
    assert payload["userErrors"][0]["field"] == ["kind"]


async def test_promotion_and_rollback_need_their_scope(ask: Ask, two: list[Path]) -> None:
    for query, variables in ((PROMOTE, {"id": two[0].name, "reason": "r"}), (ROLL_BACK, {"reason": "r"})):
        assert (await ask(query, variables, scopes=["models:read"])).codes == ["FORBIDDEN"]


def penchant(*words: str) -> tuple[int, str]:
    said = CliRunner().invoke(app, ["models", *words])
    return said.exit_code, said.output


async def test_the_commands_make_the_same_decisions(gateway: Gateway, two: list[Path]) -> None:
    code, listed = await asyncio.to_thread(penchant, "list")
    assert code == 0 and f"* {two[1].name}" in listed and f"  {two[0].name}" in listed
    code, said = await asyncio.to_thread(penchant, "rollback", "--reason", "sales fell")
    assert (code, await served(gateway)) == (0, two[0].name) and f"{two[0].name} serves now" in said
    code, said = await asyncio.to_thread(penchant, "promote", two[1].name, "--reason", "a mistake", "--json")
    assert (code, await served(gateway)) == (0, two[1].name)
    code, said = await asyncio.to_thread(penchant, "promote", "ghost", "--reason", "?")
    assert code == 1 and "There is no model 'ghost'" in said
