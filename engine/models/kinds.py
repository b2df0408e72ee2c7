"""What differs between the kinds of models, in one place: how one is opened, judged and described."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.counts import people_in_words
from core.errors import InvalidInput
from db.jobs import AFFINITY, FORECAST
from ml import gate
from ml.affinity.model import AffinityModel
from ml.gate import Verdict
from ml.hazard.evaluation import forecast_verdict, why_forecast_baseline
from ml.hazard.model import ForecastModel

_EVIDENCE: Final = ("ahead", "rivals", "people", "came", "days", "tied", "parity")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model. Its evaluation is a document of JSON, or before it is written an object of its own type."""

    title: str  # of its metrics, for people
    metric: str  # the first one to look at
    has_tables: bool  # what is rebuilt every day
    open: Callable[[Path], Any]  # raises BundleRefused
    verdict: Callable[..., Verdict]  # on an evaluation; `same_as` is the id of what serves, if that learned the same
    why_baseline: Callable[..., str]  # why a baseline serves in place of a model that was refused for a reason
    counted: Callable[[Mapping[str, Any]], str]  # whom and what a document looked at, in words

    def people(self, document: Mapping[str, Any]) -> str:
        """On what the metrics of an evaluation were measured."""
        return f"{people_in_words(document['people'])}, {self.counted(document)}"


KINDS: Final[Mapping[str, Kind]] = {
    AFFINITY: Kind(
        title="What people buy next",
        metric="ndcg_at_10",
        has_tables=True,
        open=AffinityModel.open,
        verdict=gate.verdict,
        why_baseline=gate.why_baseline,
        counted=lambda document: f"{document['items']:,} items, all ranked",
    ),
    FORECAST: Kind(
        title="Who orders again",
        metric="auc",
        has_tables=False,
        open=ForecastModel.open,
        # A forecast is not compared with other versions, so `same_as` is always None.
        verdict=lambda evaluation, *, same_as: forecast_verdict(evaluation),
        why_baseline=why_forecast_baseline,
        counted=lambda document: f"of whom {document['came']:,} ordered within {document['days']:g} days",
    ),
}


def kind_named(name: str) -> Kind:
    """The kind. Raises InvalidInput naming the known ones."""
    if name not in KINDS:
        raise InvalidInput(f"There is no kind of model {name!r}; known: {', '.join(KINDS)}.", field="kind")
    return KINDS[name]


def evidence_in(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What a decision is based on, from the evaluation of a bundle."""
    return {name: evaluation[name] for name in _EVIDENCE if name in evaluation}
