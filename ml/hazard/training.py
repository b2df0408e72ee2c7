"""Training of the forecast: people as of earlier moments, a net fitted to the weeks of their next orders, a test."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np

from ml.affinity.export import TOLERANCE, ExportDiffers, calibrated, exported
from ml.affinity.network import Network, averaged
from ml.baselines.orders import DAY, Orders
from ml.baselines.returning import FORECASTS, OPTIONAL
from ml.clockless import is_clockless
from ml.hazard import fitting, model
from ml.hazard.calibration import calibrate
from ml.hazard.evaluation import (
    NET,
    SERVED,
    ForecastEvaluation,
    evaluate,
)
from ml.hazard.examples import Examples, Floats, examples
from ml.hazard.features import FEATURES, SEASONAL
from ml.hazard.forecasts import expected_days, no_order
from ml.hazard.linear import fit_linear
from ml.hazard.model import Forecaster
from ml.keras_versions import keras_versions
from ml.log import Log, NothingToLearn
from ml.provenance import code_identity, data_identity
from ml.splits import FORECAST_HOLDOUT, LEAST_DAYS, LEAST_TESTED, cut_between
from ml.trainers import ReportProgress

_PACKAGES = {"numpy": np.__version__, **keras_versions()}
_SEASONS = 330  # days of moments that teach how seasons differ
_LEAST_AT_RISK = 20  # weeks of people in a bin; of fewer the bin before it holds
_QUIET = [FEATURES.index("quiet")]


@dataclass(frozen=True, slots=True)
class ForecastConfig:
    """Every setting of a training."""

    days: int = FORECAST_HOLDOUT  # within which an order is foretold in the test
    moments: int = 14  # earlier ones that people are looked at from; what follows the latest is for validation
    every: int = 28  # days between them
    people: int = 6_000  # of each moment
    tested: int = 20_000  # people
    hidden: tuple[int, ...] = (64, 32)
    models: int = 3  # nets that differ by their seed; their logits are averaged
    epochs: int = 10
    batch: int = 512
    learning_rate: float = 3e-3
    histories: int = 300  # real ones, for the proof that the export forecasts like Keras
    seed: int = 7


DEFAULT = ForecastConfig()
NO_RIVALS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class TrainedForecast(Forecaster):
    """A trained forecast, or a baseline in its place, with everything that its bundle needs."""

    evaluation: ForecastEvaluation
    parity: float  # largest difference of a probability between Keras and the export
    training: dict[str, Any]  # where it comes from
    make_baseline: Callable[["TrainedForecast"], "TrainedForecast"]

    def best_baseline(self, report: ReportProgress) -> "TrainedForecast | None":
        """The best baseline that can serve, evaluated as it serves; None where none tells people apart."""
        if self.evaluation.best_baseline is None:
            return None
        report("evaluating the best baseline", 0, 1)
        return self.make_baseline(self)

    def with_gate(self, gate: dict[str, Any]) -> "TrainedForecast":
        """The same with the verdict of the gate in its evaluation."""
        return replace(self, evaluation=replace(self.evaluation, gate=gate))

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`. Raises `BundleRefused` if it could not serve."""
        evaluation = {**self.evaluation.document(), "parity": self.parity}
        path = model.write(folder, self, evaluation=evaluation, training=self.training, created_at=created_at)
        model.ForecastModel.open(path)
        return path


class _Lesson(NamedTuple):
    """What is learned from, and the people to be judged by."""

    orders: Orders  # before and after the cut
    cut: int  # seconds
    end: int  # of what is known, after the last line
    began: int  # of the validation span, which ends at the cut
    rows: Examples  # as of moments before that span
    held: Examples  # as of its begin
    asked: Examples  # as of the cut, with what became of them
    config: ForecastConfig


def train(
    log: Log,
    cut: int | None,
    report: ReportProgress,
    config: ForecastConfig = DEFAULT,
    *,
    rivals: Mapping[str, Any] = NO_RIVALS,
) -> TrainedForecast:
    """Learn from the lines before `cut` (seconds), evaluate on the later ones; the evaluated forecast may serve.

    Before the cut, the last weeks are for early stopping and calibration, the earlier ones are learned from. A forecast
    is compared with its baselines alone, so nobody gives it `rivals`. Raises
    `ExportDiffers`, and `NothingToLearn` for a log without a clock, of few weeks, or in which nobody came back.
    """
    log.require_lines()
    if is_clockless(log.between(None, cut)):
        raise NothingToLearn("The purchases have no real times, so nobody can say when a person orders again.")
    if cut is None:
        cut = cut_between(int(log.occurred.min()), int(log.occurred.max()), config.days)
    training = {
        "seed": config.seed,
        "settings": asdict(config),
        "code": code_identity(_PACKAGES),
        "data": data_identity(log, cut),
    }
    lesson = _lesson(log, cut, config, report)
    report("fitting the forecast", 0, config.models * config.epochs)
    fitted = _fitted(lesson, report)
    network, parity = _exported(fitted, lesson)
    forecaster = _forecaster(network, lesson)
    return TrainedForecast(
        network=network,
        lowest=forecaster.lowest,
        highest=forecaster.highest,
        typical=forecaster.typical,
        evaluation=_evaluated(forecaster, lesson, report),
        parity=parity,
        training=training,
        make_baseline=partial(_baseline, lesson=lesson),
    )


def earlier_moments(log: Log, cut: int, config: ForecastConfig) -> list[int]:
    """The moments (seconds) that training looks from, latest first: in the later part of what is before the cut.

    Raises `NothingToLearn` when that is too short.
    """
    span = cut - int(log.occurred.min(initial=cut))
    step = min(config.every * DAY, span * 7 // LEAST_DAYS)
    if step < 7 * DAY:
        raise NothingToLearn(
            f"The purchases before the cut span less than {LEAST_DAYS} days: too short to learn when people return."
        )
    count = min(config.moments, max(3, int(0.7 * span / step)))
    return [cut - back * step for back in range(1, count + 1)]


def _lesson(log: Log, cut: int, config: ForecastConfig, report: ReportProgress) -> _Lesson:
    past, orders = log.between(None, cut), Orders.of(log)
    if not len(past):
        raise NothingToLearn("There are no purchases before the cut.")
    moments = earlier_moments(past, cut, config)
    found = examples(
        past, Orders.of(past), moments, cut, most=config.people, seed=config.seed,
        done=lambda done: report("looking at people", done, len(moments)),
    )  # fmt: skip
    end = int(log.occurred.max()) + 1
    if end - cut < LEAST_TESTED * DAY:
        raise NothingToLearn(
            f"The purchases after the cut span less than {LEAST_TESTED} days: too short to see who orders again."
        )
    asked = examples(past, orders, [cut], end, most=config.tested, seed=config.seed, done=lambda done: None)
    began = moments[0]
    rows = found.where(found.moment < began)
    if not rows.outcomes(began).ordered.any():
        raise NothingToLearn("Nobody in the purchase log came back, as far as whole weeks show.")
    return _Lesson(orders, cut, end, began, rows, found.where(found.moment == began), asked, config)


def _fitted(lesson: _Lesson, report: ReportProgress) -> list[keras.Model]:
    """Nets that differ by their seed alone; the mean of their logits serves."""
    config, moments = lesson.config, lesson.rows.moment
    few = int(moments.max()) - int(moments.min()) < _SEASONS * DAY
    held = (lesson.held.features, lesson.held.outcomes(lesson.cut))
    return [
        fitting.fit(
            lesson.rows.features,
            lesson.rows.outcomes(lesson.began),
            validation=held,
            ignored=np.isin(FEATURES, SEASONAL) & few,
            hidden=config.hidden,
            epochs=config.epochs,
            batch=config.batch,
            learning_rate=config.learning_rate,
            seed=config.seed + index,
            epoch_done=lambda done, index=index: report(  # type: ignore[misc]
                "fitting the forecast", index * config.epochs + done, config.models * config.epochs
            ),
        )
        for index in range(config.models)
    ]


def _exported(fitted: list[keras.Model], lesson: _Lesson) -> tuple[Network, float]:
    """The calibrated network, and its largest difference from the Keras models over real people."""
    network = averaged([exported(each) for each in fitted])
    network = _with_known_bins(network, lesson.rows.outcomes(lesson.began).at_risk)
    asked = lesson.rows.features[-lesson.config.histories :]
    ours = network.outputs(asked)
    theirs = np.mean([np.asarray(each(asked, training=False), np.float32) for each in fitted], axis=0)
    seen = lesson.rows.outcomes(lesson.began).at_risk.sum(axis=0) >= _LEAST_AT_RISK
    difference = float(np.abs(_chances(ours) - _chances(theirs))[:, seen].max(initial=0.0))
    if not difference <= TOLERANCE:  # also for NaN
        raise ExportDiffers(f"the exported forecast differs from the Keras model by {difference:.2g}")
    return _calibrated(network, lesson), difference


def _chances(logits: Floats) -> Floats:
    result: Floats = np.reciprocal(1 + np.exp(-np.clip(logits, -60, 60)))
    return result


def _calibrated(network: Network, lesson: _Lesson) -> Network:
    held = lesson.held
    return calibrated(network, *calibrate(network.outputs(held.features), held.outcomes(lesson.cut)))


def _with_known_bins(network: Network, at_risk: Floats) -> Network:
    """Bins of which nothing was seen get the hazard of the last one that was seen."""
    seen = np.flatnonzero(at_risk.sum(axis=0) >= _LEAST_AT_RISK)
    from_bin = np.minimum(np.arange(at_risk.shape[1]), seen.max(initial=0))
    kernels, biases = network.kernels, network.biases
    last = np.ascontiguousarray(kernels[-1][:, from_bin])
    return replace(network, kernels=(*kernels[:-1], last), biases=(*biases[:-1], biases[-1][from_bin]))


def _forecaster(network: Network, lesson: _Lesson) -> Forecaster:
    features = lesson.rows.features
    return Forecaster(network, features.min(axis=0), features.max(axis=0), features.mean(axis=0))


def _evaluated(
    forecaster: Forecaster, lesson: _Lesson, report: ReportProgress, baseline: str | None = None
) -> ForecastEvaluation:
    """The forecaster beside the baselines; a baseline as it serves beside nothing."""
    asked, config = lesson.asked, lesson.config
    days = min(config.days, (lesson.end - lesson.cut) // DAY)
    logits = forecaster.logits(asked.features)
    candidate = NET if baseline is None else SERVED
    probabilities = {candidate: 1 - no_order(logits, days)}
    if baseline is None:
        others = {name: each for name, each in {**FORECASTS, **OPTIONAL}.items() if _can_run(name)}
        everybody = lesson.orders.people(lesson.cut).person
        rows = np.searchsorted(everybody, asked.person)
        for index, (name, forecast) in enumerate(others.items()):
            report("forecasting by the baselines", index, len(others))
            probabilities[name] = forecast(lesson.orders, lesson.cut, days)[rows]
    return evaluate(
        probabilities,
        asked.days,
        expected_days(logits, days),
        cut=lesson.cut,
        days=days,
        candidate=candidate,
        seed=config.seed,
        baseline=baseline,
    )


def _can_run(name: str) -> bool:
    """LightGBM says what XGBoost says; the extra may not be installed."""
    return name != "lightgbm" and (name not in OPTIONAL or find_spec(name) is not None)


def _baseline(refused: TrainedForecast, *, lesson: _Lesson) -> TrainedForecast:
    name = refused.evaluation.best_baseline
    assert name is not None
    columns = _QUIET if name == "last_order" else list(range(len(FEATURES)))
    rows = lesson.rows
    network = fit_linear(rows.features, rows.outcomes(lesson.began), columns)
    forecaster = replace(_forecaster(network, lesson), network=_calibrated(network, lesson))
    served = _evaluated(forecaster, lesson, lambda stage, done, of: None, baseline=name)
    methods = served.methods | refused.evaluation.methods
    evaluation = replace(served, methods=methods)
    return replace(refused, network=forecaster.network, evaluation=evaluation, parity=0.0)
