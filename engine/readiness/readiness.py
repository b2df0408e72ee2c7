"""Says of each model whether it is trained, could be, or which data it lacks.

The limits are those of the code that refuses a training or a model.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from core import clock
from core.single_flight import SingleFlight
from db.jobs import AFFINITY
from db.postgres import Connection
from db.purchase_counts import NO_PURCHASES, PurchaseCounts, people_by_week, purchase_counts, purchase_span
from db.serving import (
    FORECAST_SLOT,
    MAIN_SLOT,
    Decision,
    Model,
    current_serving,
    decision_about_trained,
    model_by_id,
)
from ml.gate import LEAST_PEOPLE, words
from ml.hazard.evaluation import LEAST_OF_A_CLASS
from ml.hazard.evaluation import LEAST_PEOPLE as LEAST_ASKED
from ml.sequence.lessons import LEAST_LINES as SEQUENCE_LINES
from ml.sequence.lessons import LEAST_PEOPLE as SEQUENCE_PEOPLE
from ml.sequence.lessons import REBUYS
from ml.splits import DAY, FORECAST_HOLDOUT, HOLDOUT, LEAST_DAYS, Cuts, cut_between
from ml.universe import PEOPLE_TOGETHER

SECOND: Final = "people with a second order, at another time, that they kept: of others nothing can be foretold"
KEPT_FOR: Final = timedelta(minutes=1)  # counting reads many rows


class Subject(StrEnum):
    """What a model answers."""

    RECOMMENDATIONS = "RECOMMENDATIONS"
    SIMILAR = "SIMILAR"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    FORECASTS = "FORECASTS"
    SEQUENCE = "SEQUENCE"


class Status(StrEnum):
    """How far a model is."""

    TRAINED = "TRAINED"
    READY = "READY"
    NOT_ENOUGH = "NOT_ENOUGH"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a model needs, with how much of it is there."""

    have: int
    need: int
    words: str

    @property
    def met(self) -> bool:
        """Whether there is enough."""
        return self.have >= self.need


@dataclass(frozen=True, slots=True)
class ModelReadiness:
    """How far one model is, and what serves in its place."""

    subject: Subject
    status: Status
    summary: str
    requirements: Sequence[Requirement]
    fallback: str  # what answers until it serves, in words
    model: str | None  # the bundle that serves it


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far every model is. `complete`: whether all purchases were counted."""

    counted_at: datetime
    lines: int
    complete: bool
    models: Sequence[ModelReadiness]


class KeptReadiness:
    """The readiness of a moment ago, for all who ask: `source` is read at most once a minute."""

    def __init__(self, source: Connection) -> None:
        self._flight = SingleFlight[None, Readiness](lambda _: readiness(source))
        self._kept: Readiness | None = None

    async def read(self) -> Readiness:
        """Raises what the source raises."""
        kept = self._kept
        if kept is None or clock.now() - kept.counted_at > KEPT_FOR:
            self._kept = kept = await self._flight.result(None)
        return kept


async def readiness(source: Connection) -> Readiness:
    """How far every model is, as of now. Counts a bounded number of purchases."""
    span, days = await purchase_span(source), 0
    counts = NO_PURCHASES
    if span is not None:
        first, last = (int(moment.timestamp()) for moment in span)
        cut, forecast_cut = await cut_of_lists(source, first, last), cut_between(first, last, FORECAST_HOLDOUT)
        days = (forecast_cut - first) // DAY
        forecast_end = forecast_cut + min(FORECAST_HOLDOUT, (last + 1 - forecast_cut) // DAY) * DAY
        moments = (datetime.fromtimestamp(each, UTC) for each in (cut, forecast_cut, forecast_end))
        counts = await purchase_counts(source, *moments)
    lists, forecast = await asyncio.gather(_standing(source, MAIN_SLOT), _standing(source, FORECAST_SLOT))
    models = [*judged(counts, *lists), judged_forecast(counts, days, *forecast), judged_sequence(counts, lists[0])]
    return Readiness(clock.now(), counts.lines, counts.complete, models)


async def cut_of_lists(source: Connection, first: int, last: int) -> int:
    """The cut (seconds) that a training of the lists takes by default."""
    cuts = Cuts.between(first, last, HOLDOUT)
    if not cuts.weeks:
        return cuts.first
    return cuts.chosen(*await people_by_week(source, datetime.fromtimestamp(cuts.first, UTC), cuts.weeks + 1))


async def _standing(source: Connection, slot: str) -> tuple[Model | None, Decision | None]:
    """What serves in a slot, and the refusal of its newest trained model; None where it was not refused."""
    row, decision = await asyncio.gather(current_serving(source, slot), decision_about_trained(source, slot))
    model = None if row is None else await model_by_id(source, row.bundle)
    return model, decision if decision and decision.action == "REFUSED" else None


def judged_forecast(counts: PurchaseCounts, days: int, model: Model | None, refused: Decision | None) -> ModelReadiness:
    """How far the forecast is; `days` are those of the purchases before its cut."""
    asked = (
        f"people who ordered within a year before the last {FORECAST_HOLDOUT} days, or the last fifth of a shorter log"
    )
    stayed = counts.asked_people - counts.asked_came
    requirements = [
        Requirement(counts.known_lines, 1, "purchases that name an item of the catalogue"),
        Requirement(counts.repeat_people, 1, SECOND),
        Requirement(days, LEAST_DAYS, "days of purchases before the test span, with their real times"),
        Requirement(counts.asked_people, LEAST_ASKED, f"{asked}: the gate judges the forecast on them"),
        Requirement(counts.asked_came, LEAST_OF_A_CLASS, "of them ordered again"),
        Requirement(stayed, LEAST_OF_A_CLASS, "of them did not order again"),
    ]
    nothing = "nothing: churn and nextPurchase have no probability"
    stand_in = f"{words(model.baseline)}, as a weekly regression" if model and model.baseline else nothing
    learned = model if model is not None and model.baseline is None else None
    return _judged(Subject.FORECASTS, requirements, learned, stand_in, refused)


def judged_sequence(counts: PurchaseCounts, model: Model | None) -> ModelReadiness:
    """How far the sequence net is, which a training of the lists makes where people rarely buy the same again."""
    new = 100 * counts.first_lines // max(counts.distinct_lines, 1)
    requirements = [
        Requirement(counts.people, SEQUENCE_PEOPLE, "people with an order"),
        Requirement(counts.known_lines, SEQUENCE_LINES, "purchases that name an item of the catalogue"),
        Requirement(
            new,
            100 - round(100 * REBUYS),
            "percent of the purchases are of items that were new to the person: where people buy the same again, lists"
            " are better without a sequence net",
        ),
    ]
    fallback = "the ranker without it, or what stands in for the ranker"
    compared = (model.training.get("sequence") or {}) if model is not None and model.baseline is None else {}
    serves = model if "sequence" in str(compared.get("variant", "")) else None
    found = _judged(Subject.SEQUENCE, requirements, serves, fallback, None)
    if serves is None and compared and found.status is Status.READY:
        said = "The last training compared it with the ranker alone, which foretold the validation span as well."
        return replace(found, summary=said)
    return found


def judged(counts: PurchaseCounts, model: Model | None, refused: Decision | None) -> list[ModelReadiness]:
    """How far the models of lists are, by what is stored, what serves, and the refusal of the newest trained one."""
    learned = model if model is not None and model.kind == AFFINITY and model.baseline is None else None
    known = Requirement(counts.known_lines, 1, "purchases that name an item of the catalogue")
    again = Requirement(counts.repeat_people, 1, SECOND)
    came_back = Requirement(
        counts.returned_people,
        LEAST_PEOPLE,
        f"people with an earlier order who ordered again in the last {HOLDOUT} days, or where few do in more, up to the"
        " last fifth of the log: the gate compares the model with the baselines on them",
    )
    together = Requirement(
        counts.basket_people,
        PEOPLE_TOGETHER,
        "people with an order of two items or more: so many must have ordered the same two together",
    )
    popular = "what most people bought lately, and below it new items"
    stand_in = f"{words(model.baseline)}, the best baseline" if model and model.baseline else popular
    return [
        _judged(Subject.RECOMMENDATIONS, [known, again, came_back], learned, stand_in, refused),
        _judged(Subject.SIMILAR, [known], model, "other items of the same category", None),
        _judged(Subject.BOUGHT_TOGETHER, [known, together], model, "nothing: the list is empty", None),
    ]


def _judged(
    subject: Subject,
    requirements: Sequence[Requirement],
    model: Model | None,
    fallback: str,
    refused: Decision | None,
) -> ModelReadiness:
    missing = [each for each in requirements if not each.met]
    if model is not None:
        status, summary = Status.TRAINED, f"{model.id} serves."
    elif missing:
        status = Status.NOT_ENOUGH
        summary = " ".join(f"{each.have:,} of {each.need:,} {each.words}." for each in missing)
    else:
        status, summary = Status.READY, "There is enough to train: run `penchant train`."
        if refused is not None:
            summary = f"There is enough to train. The last model was refused: {refused.reason}."
    served = model.id if model is not None else None
    return ModelReadiness(subject, status, summary, requirements, fallback, served)
