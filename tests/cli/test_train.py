"""`penchant train`: what it stores, which model it promotes, and its errors."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from cli.holdout import with_holdout
from core import clock
from core.errors import InvalidInput
from db.jobs import AFFINITY, job_by_id
from db.lake.export import export_events
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.lake.retention import drop_exported_months
from db.postgres import Pool
from db.serving import FORECAST_SLOT, current_serving, list_decisions, list_models
from ml.affinity.model import AffinityModel
from ml.baselines.methods import BASELINES
from ml.hazard.model import ForecastModel
from ml.log import Log
from tests.cli.conftest import RunApart
from tests.commands import invoke
from tests.loaded_shops import load_shop, write_events
from tests.running import without_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def train(run_apart: RunApart) -> RunApart:
    """`penchant train` in a process of its own."""
    return partial(run_apart, "train")


def lines(start: int, end: int, people: int = 120, seed: int = 0) -> list[str]:
    """Purchases on days counted from NOW: each person has six favourites of sixty items, new ones every 100 days."""
    random = np.random.default_rng(seed)
    found = []
    for person in range(people):
        for day in np.sort(random.choice(np.arange(start, end), max(1, (end - start) // 12), replace=False)).tolist():
            favourites = np.random.default_rng([person, (day + 350) // 100]).choice(60, 6, replace=False)
            at = (NOW - timedelta(days=-day, hours=int(random.integers(0, 12)))).isoformat()
            basket = {*random.choice(favourites, 3).tolist(), int(random.zipf(1.6)) % 60}
            found += [f"PURCHASE,{at},u{person},i{item},{person}-{day},1,2.50,EUR" for item in sorted(basket)]
    return found


@pytest.fixture
def shop(pool: Pool, database: str, tmp_path: Path) -> Path:
    """A loaded shop; the file of the orders after the cut."""
    load_shop(tmp_path, 60, lines(-300, 0))
    return write_events(tmp_path / "after.csv", lines(0, 24, seed=1))


async def test_a_trained_model_is_evaluated_registered_recorded_and_promoted(
    train: RunApart, shop: Path, pool: Pool, tmp_path: Path
) -> None:
    ended = train("--holdout", shop, "--json", PENCHANT_MLFLOW_URL=f"sqlite:///{tmp_path}/mlflow.db")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["promoted"], result["reason"]
    opened = AffinityModel.open(Path(result["path"]))
    assert opened.id == result["bundle"]
    assert opened.evaluation["cut_at"].startswith("2025-12-31") or opened.evaluation["cut_at"].startswith("2026-01-01")
    assert set(opened.evaluation["methods"]) >= {"ranker", "popularity", "personal_frequency"}
    models = {model.id: model for model in await list_models(pool, 10) if model.kind == AFFINITY}
    assert models.keys() == {opened.id, result["refreshed"]}
    model, fresh = models[opened.id], models[result["refreshed"]]
    assert (model.id, model.digest, model.registry_version) == (opened.id, opened.digest, "1")
    assert (fresh.refreshed_from, fresh.evaluation, fresh.registry_version) == (model.id, model.evaluation, "2")
    serving = await current_serving(pool)
    assert serving is not None and serving.bundle == fresh.id
    refresh, decision = [each for each in await list_decisions(pool, 10) if each.bundle.startswith(AFFINITY)]
    assert (refresh.action, refresh.bundle, decision.bundle) == ("REFRESHED", fresh.id, opened.id)
    assert decision.action == "PROMOTED"
    assert model.evaluation["gate"]["verdict"] == result["evaluation"]["gate"]["verdict"] == "PROMOTED"
    assert all(check["passed"] for check in model.evaluation["gate"]["checks"])
    assert "better than every baseline" in decision.reason
    assert result["baseline"] is None
    assert decision.evidence["ahead"]["personal_frequency"]["value"] > 0
    finished = await job_by_id(pool, 1)
    assert finished is not None
    assert (finished.state, finished.bundle) == ("SUCCEEDED", opened.id)
    assert "looking back" in ended.stderr
    assert "evaluating" in ended.stderr
    lines_of_others = [line for line in ended.stderr.splitlines() if not re.match(r" *[\d.]+ s  ", line)]
    assert lines_of_others == [], "TensorFlow and MLflow write nothing of their own"

    judged = result["forecast"]
    assert "fitting the forecast" in ended.stderr
    assert judged["evaluation"]["people"] == 120
    row = await current_serving(pool, FORECAST_SLOT)
    forecast = judged["bundle"] if judged["promoted"] else judged["baseline"]  # None: nothing tells these people apart
    assert (row and row.bundle) == forecast
    assert ForecastModel.open(Path(judged["path"])).evaluation["days"] in (23, 24)
    listed = {each["id"]: each for each in json.loads((await said("models", "list", "--json")).stdout)}
    assert {id for id, each in listed.items() if each["serving"]} == {fresh.id, *([forecast] if forecast else [])}
    assert listed[judged["bundle"]]["auc"]["value"] > 0


TINY = [
    f"PURCHASE,{(NOW - timedelta(days=35 - day)).isoformat()},u{day % 8},i{day % 5 + day % 3},o{day},1,2.50,EUR"
    for day in range(34)
]


async def said(*words: str) -> Result:
    """A command, beside the test's own event loop."""
    return await asyncio.to_thread(invoke, *words)


@pytest.fixture
def tiny_shop(pool: Pool, database: str, tmp_path: Path) -> None:
    """Eight people and seven items, loaded."""
    load_shop(tmp_path, 7, TINY)


async def test_a_model_that_is_not_better_is_refused_and_recorded(
    train: RunApart, tiny_shop: None, pool: Pool, tmp_path: Path
) -> None:
    first = lines(0, 1)
    rows = write_events(
        tmp_path / "odd.csv", [row.replace(",i", ",unheard-of-", 1) for row in first] + [_of_rarest_item(first[0])]
    )
    ended = train("--holdout", rows)
    assert ended.returncode == 0, ended.stderr
    assert "Refused" in ended.stdout
    assert "The best baseline serves instead: " in ended.stdout
    refresh, promoted, refused = [each for each in await list_decisions(pool, 10) if each.bundle.startswith(AFFINITY)]
    assert (refused.action, promoted.action, refresh.action) == ("REFUSED", "PROMOTED", "REFRESHED")
    assert "too few people: 1 with" in refused.reason
    assert refused.reason in promoted.reason
    serving = await current_serving(pool)
    assert serving is not None
    assert serving.bundle == refresh.bundle != promoted.bundle != refused.bundle
    models = {model.id: model for model in await list_models(pool, 10)}
    assert models[promoted.bundle].baseline in BASELINES
    assert models[refused.bundle].baseline is None
    assert models[refused.bundle].training["data"]["people"] == 8
    opened = AffinityModel.open(tmp_path / "bundles" / promoted.bundle)
    assert opened.evaluation["baseline"] == models[promoted.bundle].baseline


@pytest.mark.timeout(300)
async def test_a_tiny_log_is_refused_the_best_baseline_serves_and_every_command_says_so(
    train: RunApart, tiny_shop: None, pool: Pool
) -> None:
    ended = train("--json")
    assert ended.returncode == 0, ended.stderr
    assert not any(line.startswith(("I0000", "W0000", "WARNING: All log")) for line in ended.stderr.splitlines())
    result = json.loads(ended.stdout)
    assert not result["promoted"]
    assert "too few people" in result["reason"]
    assert result["forecast"] is None
    assert (
        "warning: no forecast of who orders again: The purchases before the cut span less than 35 days" in ended.stderr
    )
    ndcg = {name: scores["ndcg_at_10"]["value"] for name, scores in result["evaluation"]["methods"].items()}
    best = max(BASELINES, key=lambda name: ndcg[name])
    serving = await current_serving(pool)
    assert serving is not None
    assert serving.bundle == result["refreshed"]

    listed = json.loads((await said("models", "list", "--json")).stdout)
    by_id = {each["id"]: each for each in listed}
    served, fresh, refused = by_id[result["baseline"]], by_id[result["refreshed"]], by_id[result["bundle"]]
    assert (served["decision"], served["baseline"], served["serving"]) == ("PROMOTED", best, False)
    assert (fresh["decision"], fresh["baseline"], fresh["serving"]) == ("REFRESHED", best, True)
    assert (refused["decision"], refused["baseline"], refused["serving"]) == ("REFUSED", None, False)
    assert refused["ndcg_at_10"]["value"] == ndcg["ranker"]
    assert refused["best_baseline"] == {"name": best, "ndcg_at_10": ndcg[best]}
    text = (await said("models", "list")).stdout
    assert f"refused  NDCG@10 {ndcg['ranker']:.4f}" in text
    assert f"promoted ({best.replace('_', ' ')})" in text

    shown = (await said("models", "show", refused["id"])).stdout
    assert "too few people" in shown
    assert "seed: 7" in shown
    assert "lines 34" in shown
    assert (await said("models", "show", "nothing")).exit_code == 1


@pytest.mark.timeout(300)
async def test_a_training_learns_from_events_that_only_the_lake_has(
    train: RunApart, tiny_shop: None, pool: Pool, tmp_path: Path
) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    async with sole_writer(pool) as connection:
        await export_events(connection, lake, clock.now(), lambda *_: None)
        await drop_exported_months(connection, lake, 1, NOW + timedelta(days=40))
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
    assert "The purchase log is empty." in train().stderr
    ended = train("--json", PENCHANT_LAKE_TRAINING="true", PENCHANT_LAKE_URL=lake.url)
    assert ended.returncode == 0, ended.stderr
    made = AffinityModel.open(Path(json.loads(ended.stdout)["path"]))
    assert made.training["data"]["lines"] == len(TINY)


def test_a_wrong_address_of_a_lake_is_a_wrong_command(train: RunApart) -> None:
    ended = train("--lake", "nonsense://x")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        2,
        "penchant: nonsense:// is not an address of a storage that fsspec can open.",
    )


def _of_rarest_item(row: str) -> str:
    """The same order, of the item that is bought least."""
    fields = row.split(",")
    fields[3] = "i6"
    return ",".join(fields)


async def test_without_purchases_the_training_fails_and_the_job_has_the_reason(train: RunApart, pool: Pool) -> None:
    ended = train()
    assert ended.returncode == 1
    assert "The purchase log is empty" in ended.stderr
    assert "Traceback" not in ended.stderr
    job = await job_by_id(pool, 1)
    assert job is not None
    assert (job.state, job.error) == ("FAILED", "The purchase log is empty.")


def test_purchases_that_name_no_item_are_said_with_both_sides(
    train: RunApart, pool: Pool, database: str, folder: Path
) -> None:
    Path("items.csv").write_text("id\nSKU-1\n")
    invoke("load", "items", "items.csv")
    invoke("load", "events", write_events(Path("events.csv"), ["PURCHASE,2026-01-01T00:00:00Z,u,1,o,1,2.50,EUR"]))
    ended = train()
    assert ended.returncode == 1
    assert (
        "0 of 1 purchases name an item of the catalogue. The events name `1`; the catalogue has `SKU-1`."
        in ended.stderr
    )


def test_an_unreachable_store_is_reported_in_one_line(train: RunApart) -> None:
    ended = train(PENCHANT_POSTGRES_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr


@pytest.fixture
def log() -> Log:
    """Two people, two items, one order each on day 10."""
    return Log.of(
        people=["guest:g", "user:u"],
        person=np.array([0, 1], np.int32),
        item=np.array([4, 9], np.uint32),
        occurred=np.array([864_000, 864_100]),
        cents=np.array([100, 200]),
        order=np.array([0, 1]),
        numbers=np.array([4, 9], np.uint32),
        item_ids=["a", "b"],
    )


FILES = {
    "csv": "type,occurredAt,userId,anonymousId,itemId,orderId\n"
    "PURCHASE,1970-01-21T00:00:00Z,u,,a,1\nPURCHASE,1970-01-21T00:00:00Z,u,,b,1\nVIEW,1970-01-20T00:00:00Z,u,,b,\n"
    "PURCHASE,1970-01-22T00:00:00Z,,g,a,\nPURCHASE,1970-01-22T00:00:00Z,new,,a,1\nPURCHASE,1970-01-22T00:00:00Z,u,,new,2\n",
    "jsonl": '{"type":"PURCHASE","occurredAt":"1970-01-21T00:00:00Z","userId":"u","itemId":"a","orderId":"1"}\n'
    '{"type":"PURCHASE","occurredAt":"1970-01-21T00:00:00Z","userId":"u","itemId":"b","orderId":"1"}\n'
    '{"type":"PURCHASE","occurredAt":"1970-01-22T00:00:00Z","anonymousId":"g","itemId":"a"}\n',
}


@pytest.mark.parametrize("kind", FILES)
def test_orders_of_the_holdout_are_appended_to_the_log_of_the_same_people(kind: str, log: Log, tmp_path: Path) -> None:
    file = tmp_path / f"after.{kind}"
    file.write_text(FILES[kind])
    together, cut = with_holdout(log, file)
    assert cut == 20 * 86_400
    after = together.between(cut, None)
    assert [together.people[person] for person in after.person] == ["guest:g", "user:u", "user:u"]
    assert after.item.tolist() == [4, 4, 9]
    assert len(np.unique(after.order)) == 2
    assert after.order.min() > log.order.max()


def test_stored_events_after_the_cut_are_left_out(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "after.csv"
    file.write_text("type,occurredAt,userId,itemId\nPURCHASE,1970-01-11T00:01:00Z,u,a\n")
    together, cut = with_holdout(log, file)
    assert cut == 864_060
    assert together.item.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("type,occurredAt,userId,itemId\n", "no purchase"),
        ("type,occurredAt,userId,itemId\nVIEW,2026-01-01T00:00:00Z,u,a\n", "no purchase"),
        ("type,userId,itemId\nPURCHASE,u,a\n", "occurredAt"),
        ("type,occurredAt,userId,itemId\nPURCHASE,yesterday,u,a\n", "line 2: .*occurredAt"),
        ("\x00\x01\x02\n", "neither"),
    ],
)
def test_a_wrong_holdout_file_is_refused(content: str, message: str, log: Log, tmp_path: Path) -> None:
    file = tmp_path / "after.csv"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        with_holdout(log, file)


def test_a_missing_holdout_file_is_refused(log: Log, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        with_holdout(log, tmp_path / "nothing.csv")


@pytest.mark.parametrize(("command", "code"), [("train", 2), ("trainer", 1)])
def test_without_the_packages_for_training_a_command_says_where_they_are(
    command: str, code: int, postgres_url: str
) -> None:
    """As in the gateway's image. No job is requested or taken."""
    program = "import sys; sys.modules['keras'] = None; from cli.main import app; app()"
    stores = {"POSTGRES": postgres_url, "REDIS": "redis://127.0.0.1:1/0", "BROKER": "amqp://127.0.0.1:1/"}
    environment = {**without_settings(), **{f"PENCHANT_{name}_URL": url for name, url in stores.items()}}
    ended = subprocess.run(
        [sys.executable, "-c", program, command], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, 1), ended.stderr
    assert "use the trainer's image" in ended.stderr
