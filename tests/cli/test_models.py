"""`penchant models`: what the gate checked, two models side by side, and the report of one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from core import clock
from db.postgres import Pool
from db.serving import Model, refuse, register_model
from tests.commands import invoke


def evaluation(ndcg: float, *, people: int = 500) -> dict[str, Any]:
    check = {"name": "people", "passed": True, "value": people, "limit": 100, "words": f"{people} people ordered again"}
    return {
        "candidate": "ranker",
        "cut_at": "2026-01-01T00:00:00+00:00",
        "people": people,
        "items": 80,
        "methods": {
            "ranker": {"ndcg_at_10": {"value": ndcg, "low": ndcg - 0.01, "high": ndcg + 0.01}},
            "popularity": {"ndcg_at_10": {"value": 0.1, "low": 0.09, "high": 0.11}},
        },
        "ahead": {"popularity": {"value": ndcg - 0.1, "low": 0.05, "high": 0.2}},
        "gate": {"verdict": "PROMOTED", "summary": "better than <every> baseline", "checks": [check]},
    }


def training(epochs: int) -> dict[str, Any]:
    return {"seed": 7, "settings": {"epochs": epochs, "hidden": [64, 32]}, "data": {"lines": 34}}


@pytest.fixture(autouse=True)
async def models(pool: Pool, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", postgres_url)
    for id, ndcg, epochs in (("a", 0.2, 6), ("b", 0.215, 8), ("c", 0.3, 8)):
        model = Model(id, "affinity", clock.now(), "d", evaluation(ndcg), None, training(epochs))
        await register_model(pool, model)
    await register_model(pool, Model("old", "affinity", clock.now(), "d", {}, None))
    await refuse(pool, "old", "not better than popularity", {"job": 1}, "trainer")


async def said(*arguments: str) -> Result:
    return await asyncio.to_thread(invoke, "models", *arguments)


async def test_the_checks_of_the_gate_are_shown(models: None) -> None:
    shown = (await said("show", "a", "--gate")).stdout
    assert "a  promoted: better than <every> baseline" in shown
    assert "passed  people: 500 people ordered again" in shown
    assert json.loads((await said("show", "a", "--gate", "--json")).stdout)["checks"][0]["limit"] == 100
    assert "old  refused: not better than popularity" in (await said("show", "old", "--gate")).stdout


async def test_of_a_baseline_its_figure_as_it_serves_and_no_checks_are_shown(pool: Pool, models: None) -> None:
    gate = {"verdict": "PROMOTED", "summary": "popularity serves", "checks": []}
    simple = {**evaluation(0.08), "baseline": "popularity", "gate": gate}
    await register_model(pool, Model("simple", "affinity", clock.now(), "d", simple, None))
    assert "on 500 people as it serves; popularity 0.1000" in (await said("list")).stdout
    assert "a baseline serves where the trained model was refused" in (await said("show", "simple", "--gate")).stdout
    assert "trained by an earlier version" in (await said("show", "old", "--gate")).stdout


async def test_two_models_are_compared_with_what_differs(models: None) -> None:
    shown = (await said("diff", "a", "b")).stdout
    assert "settings.epochs" in shown and "hidden" not in shown
    assert "+0.0150" in shown
    near, far = [json.loads((await said("diff", "a", other, "--json")).stdout) for other in "bc"]
    overlaps = [{row["method"]: row["overlap"] for row in found["metrics"]} for found in (near, far)]
    assert overlaps == [{"ranker": True, "popularity": True}, {"ranker": False, "popularity": True}]
    assert near["note"] is None
    assert "different orders" in json.loads((await said("diff", "a", "old", "--json")).stdout)["note"]
    assert (await said("diff", "a", "nothing")).exit_code == 1


async def test_the_report_of_a_model_is_one_file_that_loads_nothing(models: None, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert (await said("show", "a", "--html", str(file))).exit_code == 0
    text = await asyncio.to_thread(file.read_text)
    assert "better than &lt;every&gt; baseline" in text and "500 people ordered again" in text
    assert "<svg" in text and "src=" not in text and "href=" not in text
    assert (await said("show", "a", "--html", str(tmp_path / "none" / "x.html"))).exit_code == 3
