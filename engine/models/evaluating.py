"""A comparison of versions and baselines on one split of the stored purchases: for `penchant evaluate`."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.contract import check_id
from core.errors import InvalidInput
from db.items import last_categories
from db.postgres import Pool
from db.serving import FORECAST_SLOT, current_serving, model_by_id
from engine.models.learnable import check_learnable
from engine.models.texts import catalogue_words
from engine.models.training import as_log, stored_purchases
from ml.affinity.config import DEFAULT as TRAINING
from ml.affinity.contests import contests
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.refreshing import as_of_cut
from ml.baselines.boosted import require_package
from ml.baselines.methods import METHODS, SLOW, baseline_methods
from ml.baselines.returning import FORECASTS, OPTIONAL
from ml.baselines.sequence_net import require_training
from ml.bundle import BundleRefused
from ml.clockless import is_clockless
from ml.comparison import forecasts_document, lists_document
from ml.evaluation import Method, measure
from ml.hazard.methods import forecast_method
from ml.hazard.model import ForecastModel
from ml.interest import ASSUMED, Interest
from ml.log import Log, NothingToLearn
from ml.splits import DAY, HOLDOUT, holdout_cut, windows_after
from ml.texts.likeness import Support
from ml.trainers import ReportProgress
from ml.universe import Universe

DEFAULTS: Final = (*METHODS, *FORECASTS)
KNOWN: Final = (*DEFAULTS, *SLOW, *OPTIONAL)
ITEM_LIMIT: Final = TRAINING.item_limit
WINDOWS: Final = TRAINING.test_windows
MOST_VERSIONS: Final = 10
SEED: Final = 7

Holdout = Callable[[Log], tuple[Log, int]]  # the log with orders from elsewhere, and the cut where they begin


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared on which split; None for what the data or the versions decide."""

    methods: Sequence[str] = DEFAULTS
    versions: Sequence[str] | None = None  # None: the one that serves
    cut: int | None = None  # seconds
    days: int | None = None  # of the test span
    windows: int = WINDOWS  # of the test span
    holdout: Holdout | None = None
    lake: str | None = None
    assumed: Interest = ASSUMED  # what views say, in the tables of versions


async def compare(pool: Pool, bundles: Path, question: Question, report: ReportProgress) -> dict[str, Any]:
    """The comparison as plain values. Raises InvalidInput naming what does not fit, and NothingToLearn."""
    check_methods(question.methods)
    versions = await _versions(pool, bundles, question.versions)
    forecast = await _forecast(pool, bundles) if question.versions is None else None
    report("reading the purchases", 0, 1)
    stored = await stored_purchases(pool, question.lake)
    await check_learnable(pool, stored)
    log = as_log(stored, await last_categories(pool), await catalogue_words(pool), question.assumed)
    report("reading the purchases", 1, 1)
    return await asyncio.to_thread(_compare, log, versions, forecast, question, report)


def check_methods(names: Sequence[str]) -> None:
    """Raise InvalidInput for a name that is no method, or one whose package is not installed."""
    for name in names:
        if name not in KNOWN:
            raise InvalidInput(f"There is no method {name!r}; known: {', '.join(KNOWN)}.", field="methods")
        if name in OPTIONAL:
            require_package(name)
        if name in SLOW:
            require_training()


def check_comparable(log: Log, cut: int, *, chosen: bool = False) -> None:
    """Raise NothingToLearn when nobody ordered on both sides of the cut (seconds), and kept what they ordered.

    Raises InvalidInput for a cut that a person has `chosen` before or after all purchases.
    """
    past, later = log.between(None, cut), log.between(cut, None)
    if not len(past) or not len(later):
        words = f"There are no purchases {'before' if not len(past) else 'after'} the cut {_date(cut)}."
        raise InvalidInput(words, field="cut") if chosen else NothingToLearn(words)
    if not len(np.intersect1d(past.kept.person, later.kept.person)):
        raise NothingToLearn(f"Nobody who ordered before the cut {_date(cut)} ordered again: nothing can be compared.")


async def _versions(pool: Pool, bundles: Path, ids: Sequence[str] | None) -> list[AffinityModel]:
    if ids is None:
        row = await current_serving(pool)
        ids = [row.bundle] if row else []
    if len(ids) > MOST_VERSIONS:
        raise InvalidInput(f"At most {MOST_VERSIONS} versions are compared at once.", field="versions")
    opened = []
    for id in ids:
        if await model_by_id(pool, check_id(id, "versions")) is None:
            raise InvalidInput(f"There is no model {id!r}.", field="versions")
        try:
            opened.append(await asyncio.to_thread(AffinityModel.open, bundles / id))
        except BundleRefused as error:
            raise InvalidInput(str(error), field="versions") from error
    return opened


async def _forecast(pool: Pool, bundles: Path) -> ForecastModel | None:
    """The forecast that serves, if it can be opened."""
    row = await current_serving(pool, FORECAST_SLOT)
    if row is None:
        return None
    try:
        return await asyncio.to_thread(ForecastModel.open, bundles / row.bundle)
    except BundleRefused:
        return None


def _compare(
    log: Log,
    versions: list[AffinityModel],
    forecast: ForecastModel | None,
    question: Question,
    report: ReportProgress,
) -> dict[str, Any]:
    log, cut = _split(log, versions, question)
    last = int(log.occurred.max(initial=cut))
    days = question.days or max(1, round((last + 1 - cut) / DAY))
    log = log.between(None, cut + days * DAY)
    past = log.between(None, cut)
    check_comparable(log, cut, chosen=question.cut is not None)
    clockless = is_clockless(past)

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        report("fitting the baselines", 0, 1)
        models = {version.id: as_of_cut(version, past, universe, support) for version in versions}
        ours = {name: ranker_method(each, clockless=clockless) for name, each in models.items()}
        baselines = baseline_methods(past, universe, question.methods)
        report("fitting the baselines", 1, 1)
        return baselines | ours

    windows = windows_after(log, cut, question.windows)
    rounds = contests(log, windows, methods, item_limit=ITEM_LIMIT, clockless=clockless)
    measured = measure(log, cut, rounds, seed=SEED, report=lambda done, of: report("evaluating", done, of))
    report("forecasting who orders again", 0, 1)
    foretold = {}
    if forecast is not None and forecast.evaluation["cut"] <= cut:  # else it learned from the test span
        foretold = {forecast.id: forecast_method(forecast, log.between(None, cut))}
    forecasts = forecasts_document(log, cut, days, question.methods, SEED, foretold)
    report("forecasting who orders again", 1, 1)
    return {
        "cut_at": _date(cut),
        "days": days,
        "tables_as_of": [_date(moment) for moment in measured.tables],
        "seed": SEED,
        "versions": [_described(version) for version in versions],
        "lists": lists_document(measured, [version.id for version in versions], SEED),
        "forecasts": forecasts,
    }


def _split(log: Log, versions: list[AffinityModel], question: Question) -> tuple[Log, int]:
    """The log and the cut. Raises InvalidInput when a version learned from the test span."""
    log.require_lines()
    trained = {version.id: cut for version in versions if (cut := version.evaluation.get("cut"))}
    cut = max(trained.values(), default=holdout_cut(log, HOLDOUT))
    if question.holdout is not None:
        log, cut = question.holdout(log)
    cut = cut if question.cut is None else question.cut
    for id, until in trained.items():
        if until > cut:
            raise InvalidInput(
                f"{id} learned from purchases up to {_date(until)}, after the cut {_date(cut)}: choose a later cut, or"
                " other versions.",
                field="cut",
            )
    return log, cut


def _described(version: AffinityModel) -> dict[str, Any]:
    evaluation = version.evaluation
    return {
        "id": version.id,
        "created_at": version.created_at.isoformat(),
        "baseline": evaluation.get("baseline"),
        "cut_at": evaluation.get("cut_at"),
        "probability": evaluation.get("probability"),
    }


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
