"""The training of the forecast: what it learns, what it may see, and what small and odd logs lead to."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.baselines.orders import DAY
from ml.bundle import BundleRefused
from ml.comparison import forecasts_document
from ml.evaluation import Score
from ml.hazard.calibration import calibrate
from ml.hazard.evaluation import ForecastEvaluation, forecast_verdict
from ml.hazard.examples import BINS, Outcomes
from ml.hazard.methods import forecast_method
from ml.hazard.model import ForecastModel
from ml.hazard.training import ForecastConfig, TrainedForecast, train
from ml.log import Log, NothingToLearn
from tests.ml.conftest import NOW, MakeLog

BRIEF = ForecastConfig(models=1, epochs=4, people=400, moments=6)


def ignored(stage: str, done: int, of: int) -> None:
    """Report to nobody."""


def make_customers(people: int = 400, days: int = 500, seed: int = 0) -> Log:
    """Each person orders at a rate of their own, and a third of them stop for good at some day."""
    random = np.random.default_rng(seed)
    person, occurred = [], []
    for one in range(people):
        gap = float(random.choice([8, 20, 50, 120]))
        leaves = random.uniform(0, days) if random.random() < 0.35 else days
        at = random.uniform(0, gap)
        while at < leaves:
            person.append(one)
            occurred.append(NOW - int((days - at) * DAY))
            at += random.exponential(gap)
    n = len(person)
    return Log.of(
        people=[f"user:{number}" for number in range(people)], person=np.array(person, np.int32),
        item=np.ones(n, np.uint32), occurred=np.array(occurred), cents=np.full(n, 1_000), order=np.arange(n),
        numbers=np.ones(1, np.uint32), item_ids=["a"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def log() -> Log:
    return make_customers()


@pytest.fixture(scope="module")
def trained(log: Log) -> TrainedForecast:
    return train(log, None, ignored, replace(BRIEF, models=2))


def test_it_tells_who_orders_again(trained: TrainedForecast) -> None:
    methods = trained.evaluation.methods
    assert methods["hazard_net"]["auc"].value > 0.75
    assert methods["hazard_net"]["brier"].value < 0.2
    assert {"last_order", "bg_nbd", "logistic_regression"} <= methods.keys()
    assert 0 <= trained.parity <= 1e-4
    assert trained.evaluation.document()["cut_at"].startswith("2023-")


def test_a_bundle_forecasts_as_the_training_did(trained: TrainedForecast, log: Log, tmp_path: Path) -> None:
    model = ForecastModel.open(trained.write(tmp_path, datetime.fromtimestamp(NOW, UTC)))
    features = model.features(log.state(3, NOW), NOW)
    assert np.array_equal(model.logits(features), trained.logits(features))
    (tmp_path / model.id / "typical.npy").chmod(0o644)
    (tmp_path / model.id / "typical.npy").write_bytes(b"")
    with pytest.raises(BundleRefused, match="typical"):
        ForecastModel.open(tmp_path / model.id)


def test_it_is_compared_as_it_was_judged(trained: TrainedForecast, log: Log) -> None:
    cut, days = trained.evaluation.cut, int(trained.evaluation.days)
    versions = {"forecast-1": forecast_method(trained, log)}
    found = forecasts_document(log, cut, days, ["bg_nbd"], 7, versions)
    assert list(found["methods"]) == ["forecast-1", "bg_nbd"]
    assert found["people"] == trained.evaluation.people
    judged = trained.evaluation.methods
    for name, method in (("forecast-1", "hazard_net"), ("bg_nbd", "bg_nbd")):
        assert found["methods"][name]["auc"]["value"] == pytest.approx(judged[method]["auc"].value, abs=1e-6)


def test_no_fit_sees_the_test_span(log: Log, trained: TrainedForecast) -> None:
    cut = trained.evaluation.cut
    later = np.flatnonzero(log.occurred >= cut)
    moved = log.occurred.copy()
    moved[later] = np.random.default_rng(5).integers(cut, NOW, len(later))
    changed = Log.of(
        people=log.people, person=log.person, item=log.item, occurred=moved, cents=log.cents, order=log.order,
        numbers=log.numbers, item_ids=log.item_ids,
    )  # fmt: skip
    one, two = (train(each, cut, ignored, replace(BRIEF, epochs=1)) for each in (log, changed))
    assert all(map(np.array_equal, one.network.kernels, two.network.kernels))
    assert all(map(np.array_equal, one.network.biases, two.network.biases))
    assert one.evaluation.methods != two.evaluation.methods


def test_a_baseline_can_serve_in_its_place(trained: TrainedForecast, log: Log) -> None:
    simple = trained.best_baseline(ignored)
    assert simple is not None
    assert simple.evaluation.baseline in ("last_order", "logistic_regression")
    assert simple.evaluation.methods["served"]["auc"].value > 0.7
    assert simple.evaluation.methods["served"]["brier"].value < 0.22


def test_with_few_people_no_forecast_serves_and_the_days_of_the_test_are_those_of_the_log() -> None:
    log = make_customers(3)
    cut = int(log.occurred.max()) + 1 - 30 * DAY
    before = np.flatnonzero(log.occurred < cut)
    last = {int(person): log.order[at] for at, person in zip(before, log.person[before], strict=True)}
    order = np.array([last[int(person)] for person in log.person])
    numbered_anew = replace(log, order=np.where(log.occurred < cut, log.order, order))  # nobody orders after the cut
    for each in (log, numbered_anew):
        trained = train(each, cut, ignored, replace(BRIEF, epochs=1))
        verdict = forecast_verdict(trained.evaluation)
        assert not verdict.promote
        assert verdict.reason.startswith("too few people")
        assert trained.evaluation.days == 30
        assert trained.best_baseline(ignored) is None


@pytest.mark.parametrize(("low", "serves"), [(0.6, "logistic_regression"), (0.5, None), (float("nan"), None)])
def test_a_baseline_serves_only_where_it_tells_people_apart_beyond_chance(low: float, serves: str | None) -> None:
    methods = {
        "last_order": {"auc": Score(0.6, 0.55, 0.7)},
        "logistic_regression": {"auc": Score(0.65, low, 0.7)},
        "bg_nbd": {"auc": Score(0.9, 0.8, 1.0)},
    }
    evaluation = ForecastEvaluation(NOW, 90, 500, 200, methods, "hazard_net", {})
    assert evaluation.best_baseline == serves
    assert replace(evaluation, people=99).best_baseline is None
    assert replace(evaluation, came=9).best_baseline is None


def test_one_class_is_refused(make_log: MakeLog) -> None:
    log = make_log(people=150, orders=60)  # everybody orders every week
    verdict = forecast_verdict(train(log, None, ignored, replace(BRIEF, epochs=1)).evaluation)
    assert not verdict.promote
    assert "too few people" in verdict.reason


def test_a_log_without_a_clock_has_no_forecast(make_sequences: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="no real times"):
        train(make_sequences(), None, ignored, BRIEF)


def test_a_log_of_few_weeks_or_without_returns_has_no_forecast(log: Log) -> None:
    with pytest.raises(NothingToLearn, match="35 days"):
        train(log.between(NOW - 20 * DAY, None), None, ignored, BRIEF)
    with pytest.raises(NothingToLearn, match="after the cut span less than 7 days"):
        train(log, int(log.occurred.max()) - 6 * DAY, ignored, BRIEF)
    first = np.append(True, np.diff(log.person) != 0)
    with pytest.raises(NothingToLearn, match="came back"):
        train(log._where(first, log.signals), None, ignored, BRIEF)


def test_calibration_follows_the_rates_of_the_later_span() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1, (2_000, BINS)).astype(np.float32)
    ordered = np.zeros((2_000, BINS), np.float32)
    ordered[:, 0] = random.random(2_000) < 1 / (1 + np.exp(-(0.8 * logits[:, 0] + 0.7)))
    at_risk = np.zeros_like(ordered)
    at_risk[:, 0] = 1
    slope, shift = calibrate(logits, Outcomes(at_risk, ordered))
    assert slope == pytest.approx(0.85, abs=0.15)
    assert shift == pytest.approx(0.75, abs=0.25)
    assert calibrate(logits, Outcomes(at_risk, 0 * ordered)) == (1.0, 0.0)


def judged(low: float | None = None, **ours: float) -> ForecastEvaluation:
    def scores(low: float | None = None, **values: float) -> dict[str, Score]:
        return {name: Score(value, low or value, value) for name, value in values.items()}

    methods = {
        "hazard_net": scores(low, **ours),
        "bg_nbd": scores(auc=0.76, brier=0.19),
        "last_order": scores(auc=0.7, brier=0.22),
    }
    return ForecastEvaluation(NOW, 90, 500, 200, methods, "hazard_net", {})


@pytest.mark.parametrize(
    ("ours", "promoted", "says"),
    [
        ({"auc": 0.77, "brier": 0.18}, True, "as good as every baseline"),
        ({"auc": 0.758, "brier": 0.192}, True, "as good as every baseline"),
        ({"auc": 0.75, "brier": 0.18}, False, "tells people apart less well than bg nbd"),
        ({"auc": 0.77, "brier": 0.2}, False, "further off than those of bg nbd"),
        ({"auc": float("nan"), "brier": float("nan")}, False, "tells people apart less well"),
        ({"auc": 0.77, "brier": 0.18, "low": 0.49}, False, "apart no better than chance: AUC 0.7700, 95 % 0.4900 to"),
    ],
)
def test_the_gate_compares_with_the_best_baseline(ours: dict[str, Any], promoted: bool, says: str) -> None:
    verdict = forecast_verdict(judged(**ours))
    assert (verdict.promote, says in verdict.reason) == (promoted, True), verdict.reason
    assert all(check.passed for check in verdict.checks) == promoted
    assert [check.name for check in verdict.checks][:3] == ["people", "came", "stayed_away"]
    json.dumps(verdict.document(), allow_nan=False)
