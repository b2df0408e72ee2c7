"""`penchant evaluate`: what it compares, on which split, its files and its errors."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from db.postgres import Pool
from db.purchases import purchase_log
from db.serving import Model, register_model
from engine.models.evaluating import DEFAULTS
from engine.models.training import as_log
from engine.reports.plots import bars
from ml.affinity.baseline_networks import baseline_network
from ml.affinity.model import write
from ml.baselines.methods import METHODS
from ml.bundle import Bundle
from ml.rfm import FALLBACK_EDGES
from ml.snapshot import best_supported, snapshot
from tests.cli.conftest import RunApart
from tests.commands import run_penchant
from tests.loaded_shops import load_shop
from tests.running import without_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUT = NOW - timedelta(days=40)


@pytest.fixture
def evaluate(run_apart: RunApart) -> RunApart:
    """`penchant evaluate` in a process of its own."""
    return partial(run_apart, "evaluate")


@pytest.fixture
def shop(pool: Pool, database: str, tmp_path: Path) -> None:
    """Sixty people who buy their own few of thirty items again and again, loaded."""
    random = np.random.default_rng(0)
    rows: list[str] = []
    for person in range(60):
        favourites = random.choice(30, 4, replace=False)
        for day in np.sort(random.choice(300, random.integers(2, 16), replace=False)).tolist():
            at = (NOW - timedelta(days=300 - day)).isoformat()
            rows += [
                f"PURCHASE,{at},u{person},i{item},{person}-{day},1,2.50,EUR" for item in random.choice(favourites, 2)
            ]
    load_shop(tmp_path, 30, rows)


@pytest.fixture
async def version(shop: None, pool: Pool, tmp_path: Path) -> Model:
    """A registered version that ranks by the person's own frequency, learned from what is before CUT."""
    cut = int(CUT.timestamp())
    past = as_log(await purchase_log(pool, NOW + timedelta(days=1)), {}).between(None, cut)
    numbers = best_supported(past, 30)
    id_of = dict(zip(past.numbers.tolist(), past.item_ids, strict=True))
    path = write(
        tmp_path / "bundles",
        snapshot(past, numbers, cut),
        baseline_network("personal_frequency"),
        item_ids=[id_of[number] for number in numbers.tolist()],
        rfm_edges=FALLBACK_EDGES,
        evaluation={"cut": cut, "cut_at": CUT.isoformat(), "probability": {"bins": [[0.5, 0.4], [0.1, 0.2]]}},
        created_at=NOW,
    )
    model = Model(path.name, "affinity", NOW, Bundle.open(path).digest, {}, None)
    await register_model(pool, model)
    return model


class Page(HTMLParser):
    """Which tags a page has, what they load, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str | None] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words += data + " "


@pytest.mark.timeout(300)
def test_a_version_is_compared_with_every_baseline_on_the_orders_after_its_cut(
    evaluate: RunApart, version: Model, tmp_path: Path
) -> None:
    ended = evaluate("--versions", version.id, "--json", tmp_path / "found.json", "--html", tmp_path / "found.html")
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["cut_at"] == CUT.isoformat()
    assert found["days"] == 39, "the last purchases are from the day before NOW"
    lists = found["lists"]
    assert list(lists["methods"]) == [*METHODS, version.id]
    ours, own = (lists["methods"][name]["ndcg_at_10"] for name in (version.id, "personal_frequency"))
    assert ours["value"] == pytest.approx(own["value"], abs=0.05)
    assert ours["low"] < ours["value"] < ours["high"]
    assert lists["ahead"][version.id]["popularity"]["low"] > 0
    by_activity = [part["people"] for part in lists["slices"] if part["kind"] == "activity"]
    assert sum(by_activity) == lists["people"] > 30
    again, first_time = (part["ndcg_at_10"] for part in lists["slices"] if part["kind"] == "novelty")
    assert again["personal_frequency"]["value"] > first_time["personal_frequency"]["value"]
    forecasts = found["forecasts"]["methods"]
    assert set(METHODS) | set(forecasts) == set(DEFAULTS)
    assert forecasts["logistic_regression"]["auc"]["value"] > 0.6
    assert sum(people for *_, people in forecasts["bg_nbd"]["calibration"]) == found["forecasts"]["people"]
    assert "personal frequency" in ended.stdout
    assert f"{version.id}: not beyond chance ahead of" in ended.stdout

    page = Page((tmp_path / "found.html").read_text())
    assert page.loads == []
    assert page.tags.count("svg") == 6
    assert {"script", "link", "img"}.isdisjoint(page.tags)
    for heading in ("Learning: NDCG@10 by orders before", "Calibration", "Lift", "Who orders again", version.id):
        assert heading in page.words
    assert "nan" not in (tmp_path / "found.html").read_text().lower().replace("nanum", "")


@pytest.mark.timeout(300)
def test_methods_and_the_span_are_chosen(evaluate: RunApart, shop: None) -> None:
    ended = evaluate("--methods", "ease, last_order", "--cut", "2025-11-01", "--days", "21", "--json", "-")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (list(found["lists"]["methods"]), list(found["forecasts"]["methods"])) == (["ease"], ["last_order"])
    assert len(found["tables_as_of"]) == 4
    assert (found["cut_at"], found["days"], found["versions"]) == ("2025-11-01T00:00:00+00:00", 21, [])


def test_a_version_that_learned_from_the_test_span_is_refused(evaluate: RunApart, version: Model) -> None:
    ended = evaluate("--versions", version.id, "--cut", "2025-10-01")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"penchant: {version.id} learned from purchases up to {CUT.isoformat()}, after the cut"
        " 2025-10-01T00:00:00+00:00: choose a later cut, or other versions."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cut", "yesterday"], "--cut: 'yesterday' is no date: write 2026-01-31 or 2026-01-31T12:00:00Z."),
        (
            ["--cut", "0001-01-01T00:00:00+14:00"],
            "--cut: '0001-01-01T00:00:00+14:00' is no date: write 2026-01-31 or 2026-01-31T12:00:00Z.",
        ),
        (
            ["--methods", "magic"],
            f"There is no method 'magic'; known: {', '.join((*DEFAULTS, 'sequence_net', 'xgboost', 'lightgbm'))}.",
        ),
        (["--versions", "unheard-of"], "There is no model 'unheard-of'."),
        (["--versions", ",".join(map(str, range(11)))], "At most 10 versions are compared at once."),
    ],
)
def test_bad_input_gets_one_sentence(evaluate: RunApart, words: list[str], message: str) -> None:
    ended = evaluate(*words)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"penchant: {message}")


def test_an_unknown_method_is_said_before_any_setting_is_asked_for() -> None:
    ended = run_penchant("evaluate", "--methods", "magic", environment=without_settings())
    assert (ended.returncode, ended.stderr.startswith("penchant: There is no method 'magic'; known: ")) == (2, True)


def test_a_folder_that_is_not_there_is_said_before_any_work(evaluate: RunApart, tmp_path: Path) -> None:
    ended = evaluate("--html", tmp_path / "nowhere" / "found.html")
    assert (ended.returncode, ended.stderr) == (
        2,
        f"penchant: There is no folder {tmp_path / 'nowhere'} to write found.html to.\n",
    )


def test_without_purchases_there_is_nothing_to_compare(evaluate: RunApart) -> None:
    ended = evaluate()
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "penchant: The purchase log is empty.")


def test_a_cut_after_the_last_purchase_leaves_nothing_to_judge_by(evaluate: RunApart, shop: None) -> None:
    ended = evaluate("--cut", "2026-06-01")
    assert ended.returncode == 2
    assert "There are no purchases after the cut 2026-06-01T00:00:00+00:00." in ended.stderr


def test_a_plot_shows_names_as_text() -> None:
    drawn = bars([("<b>&", 0.5, 0.25, 1.0)])
    assert "&lt;b&gt;&amp;" in drawn
    assert "<b>" not in drawn
