"""The judgement of what a training made, by the kind of its evaluation."""

from collections.abc import Mapping
from typing import Any

from ml.evaluation import Evaluation
from ml.gate import Verdict, verdict, why_baseline
from ml.hazard.evaluation import ForecastEvaluation, forecast_verdict, why_forecast_baseline

AnyEvaluation = Evaluation | ForecastEvaluation


def verdict_on(evaluation: AnyEvaluation, *, same_as: str | None = None) -> Verdict:
    """Whether the evaluated model may serve; `same_as` is the id of what serves, if that learned the same."""
    if isinstance(evaluation, ForecastEvaluation):
        return forecast_verdict(evaluation)
    return verdict(evaluation, same_as=same_as)


def why_it_serves(baseline: AnyEvaluation, refused: str) -> str:
    """Why a baseline serves in place of a model that was refused for that reason."""
    why = why_forecast_baseline if isinstance(baseline, ForecastEvaluation) else why_baseline
    return why(baseline, refused)  # type: ignore[arg-type]  # of the same kind


def evidence_in(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What a decision is based on, from the evaluation of a bundle."""
    names = ("ahead", "rivals", "people", "came", "days", "tied", "parity")
    return {name: evaluation[name] for name in names if name in evaluation}
