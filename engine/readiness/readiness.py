"""Says of each model whether it is trained, could be, or which data it lacks.

The limits are those of the code that refuses a training or a model.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from core import clock
from core.single_flight import SingleFlight
from db.jobs import AFFINITY
from db.postgres import Connection
from db.purchase_counts import NO_PURCHASES, PurchaseCounts, purchase_counts, purchase_span
from db.serving import Decision, Model, current_serving, decision_about_trained, model_by_id
from ml.gate import LEAST_PEOPLE, words
from ml.splits import HOLDOUT, cut_between
from ml.universe import PEOPLE_TOGETHER

KEPT_FOR: Final = timedelta(minutes=1)  # counting reads many rows


class Subject(StrEnum):
    """What a model answers."""

    RECOMMENDATIONS = "RECOMMENDATIONS"
    SIMILAR = "SIMILAR"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"


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
    span = await purchase_span(source)
    counts = NO_PURCHASES
    if span is not None:
        first, last = (int(moment.timestamp()) for moment in span)
        counts = await purchase_counts(source, datetime.fromtimestamp(cut_between(first, last), UTC))
    row, decision = await asyncio.gather(current_serving(source), decision_about_trained(source))
    model = None if row is None else await model_by_id(source, row.bundle)
    refused = decision if decision and decision.action == "REFUSED" else None
    return Readiness(clock.now(), counts.lines, counts.complete, judged(counts, model, refused))


def judged(counts: PurchaseCounts, model: Model | None, refused: Decision | None) -> list[ModelReadiness]:
    """How far each model is, by what is stored, the bundle that serves, and the refusal of the newest trained one."""
    learned = model if model is not None and model.kind == AFFINITY and model.baseline is None else None
    learnable = _learnable(counts)
    came_back = Requirement(
        counts.returned_people,
        LEAST_PEOPLE,
        f"people with an earlier order who ordered again in the last {HOLDOUT} days, or the last fifth of a"
        " shorter log: the gate compares the model with the baselines on them",
    )
    together = Requirement(
        counts.basket_people,
        PEOPLE_TOGETHER,
        "people with an order of two items or more: so many must have ordered the same two together",
    )
    popular = "what most people bought lately, and below it new items"
    stand_in = f"{words(model.baseline)}, the best baseline" if model and model.baseline else popular
    return [
        _judged(Subject.RECOMMENDATIONS, [*learnable, came_back], learned, stand_in, refused),
        _judged(Subject.SIMILAR, learnable, model, "other items of the same category", None),
        _judged(Subject.BOUGHT_TOGETHER, [*learnable, together], model, "nothing: the list is empty", None),
    ]


def _learnable(counts: PurchaseCounts) -> list[Requirement]:
    """What any training of lists needs."""
    return [
        Requirement(counts.known_lines, 1, "purchases that name an item of the catalogue"),
        Requirement(counts.repeat_people, 1, "people with a second order: of others nothing can be foretold"),
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
