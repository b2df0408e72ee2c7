"""How well forecasts tell who orders again, and whether the trained one may serve."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.counts import people_in_words
from ml.chance_metrics import auc, average_precision, calibration, gains
from ml.evaluation import Score
from ml.gate import Check, Verdict, finite, words
from ml.metrics import interval

NET, SERVED = "hazard_net", "served"  # the trained forecast; a baseline as it serves
LEAST_PEOPLE: Final = 100
LEAST_OF_A_CLASS: Final = 10  # people who ordered again, and who did not: of fewer an AUC says little
CHANCE: Final = 0.5  # the AUC of forecasts that know nothing
BEHIND: Final = 0.003  # of an AUC, and of a Brier score: smaller differences are noise
DRAWS: Final = 200  # of the bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ForecastEvaluation:
    """Forecasts of who orders within some days of the cut, of everybody still known then."""

    cut: int  # seconds
    days: float
    people: int
    came: int
    methods: dict[str, dict[str, Score]]  # method -> metric -> score
    candidate: str  # the method that may be promoted
    curves: dict[str, Any]  # calibration and gains of the candidate
    baseline: str | None = None  # the baseline that the candidate is; None for a trained model
    gate: dict[str, Any] | None = None  # the verdict on the candidate, once there is one

    @property
    def best_baseline(self) -> str | None:
        """Of the baselines that can serve the one with the highest AUC.

        None where too few people tell, or where it may be no better than chance: no forecast is better than a guess.
        """
        if self.too_few:
            return None
        best = max((name for name in CAN_SERVE if name in self.methods), key=self._auc, default=None)
        return best if best is not None and self.tells_apart(best) else None

    def tells_apart(self, method: str) -> bool:
        """Whether a method tells who orders again from who does not, beyond chance."""
        return _beyond_chance(self.methods[method]["auc"]).passed

    def _auc(self, method: str) -> float:
        return self.methods[method]["auc"].value

    @property
    def too_few(self) -> bool:
        """Whether so few people say little."""
        return self.people < LEAST_PEOPLE or min(self.came, self.people - self.came) < LEAST_OF_A_CLASS

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON, with its protocol in words."""
        protocol = (
            f"everybody who ordered in the 365 days before the cut: who orders in the {self.days:g} days after it, from"
            " what was before the cut alone; 95 % bootstrap intervals over people"
        )
        return {"protocol": protocol, "cut_at": datetime.fromtimestamp(self.cut, UTC).isoformat(), **asdict(self)}


CAN_SERVE: Final = ("last_order", "logistic_regression")  # baselines that `ml.hazard.linear` makes, the simplest first


def evaluate(
    probabilities: Mapping[str, Floats],
    days_to_order: Floats,
    expected: Floats,
    *,
    cut: int,
    days: float,
    candidate: str,
    seed: int,
    baseline: str | None = None,
) -> ForecastEvaluation:
    """Judge each method's (people,) probabilities of an order within `days` by when people did order.

    `expected` are the candidate's days to the order of those who order.
    """
    came = (days_to_order < days).astype(np.float64)
    methods = {name: _scores(probability, came, seed) for name, probability in probabilities.items()}
    if came.any():
        missed = (expected - days_to_order)[came > 0] ** 2
        low, high = interval(missed, seed, DRAWS)
        methods[candidate]["rmse_days"] = Score(float(missed.mean()) ** 0.5, low**0.5, high**0.5)
    ours = probabilities[candidate]
    curves = {"calibration": calibration(ours, came), "gains": gains(ours, came)} if len(came) else {}
    return ForecastEvaluation(cut, days, len(came), int(came.sum()), methods, candidate, curves, baseline)


def forecast_verdict(evaluation: ForecastEvaluation) -> Verdict:
    """Promote a forecast that tells people apart beyond chance, and is at most BEHIND the best baseline.

    It is compared in AUC and in its Brier score, over enough people of both classes.
    """
    people = f"{people_in_words(evaluation.people)}, of whom {evaluation.came:,}"
    found = f"{people} ordered within {evaluation.days:g} days"
    if evaluation.too_few:
        needed = f"the gate needs {LEAST_PEOPLE}, with {LEAST_OF_A_CLASS} who ordered and as many who did not"
        return Verdict(False, f"too few people: {found}; {needed}", _enough(evaluation))
    ours, others = evaluation.methods[evaluation.candidate], dict(evaluation.methods)
    del others[evaluation.candidate]
    ahead, sure = _best(others, "auc", 1), _best(others, "brier", -1)
    compared = (
        f"AUC {ours['auc'].value:.4f} against {words(ahead)} {others[ahead]['auc'].value:.4f}, Brier score"
        f" {ours['brier'].value:.4f} against {words(sure)} {others[sure]['brier'].value:.4f}; {found}"
    )
    in_auc = _not_behind(ours["auc"].value, ahead, others[ahead]["auc"].value)
    in_brier = _not_further_off(ours["brier"].value, sure, others[sure]["brier"].value)
    chance = _beyond_chance(ours["auc"])
    reasons = (
        (in_auc, f"tells people apart less well than {words(ahead)}: {compared}"),
        (in_brier, f"its probabilities are further off than those of {words(sure)}: {compared}"),
        (chance, f"tells people apart no better than chance: {chance.words}; {found}"),
    )
    failed = next((reason for check, reason in reasons if not check.passed), None)
    said = failed or f"as good as every baseline or better: {compared}"
    return Verdict(failed is None, said, (*_enough(evaluation), in_auc, in_brier, chance))


def _enough(evaluation: ForecastEvaluation) -> tuple[Check, ...]:
    """Whether there are enough people, and enough of both classes."""
    counted = (
        ("people", evaluation.people, LEAST_PEOPLE, "people ordered in the year before the cut"),
        ("came", evaluation.came, LEAST_OF_A_CLASS, f"of them ordered within {evaluation.days:g} days"),
        ("stayed_away", evaluation.people - evaluation.came, LEAST_OF_A_CLASS, "of them did not"),
    )
    return tuple(
        Check(name, have >= need, have, need, f"{have:,} {what}; at least {need} are needed")
        for name, have, need, what in counted
    )


def _not_behind(auc: float, best: str, others: float) -> Check:
    least = others - BEHIND
    said = f"AUC {auc:.4f}; at least {least:.4f} is needed, {BEHIND} below {words(best)}"
    return Check("not_behind_in_auc", bool(auc >= least), finite(auc), float(least), said)  # NaN does not pass


def _not_further_off(brier: float, best: str, others: float) -> Check:
    most = others + BEHIND
    said = f"Brier score {brier:.4f}; at most {most:.4f} may be, {BEHIND} above {words(best)}"
    return Check("not_behind_in_brier", bool(brier <= most), finite(brier), float(most), said)


def _beyond_chance(auc: Score) -> Check:
    said = f"AUC {auc.value:.4f}, 95 % {auc.low:.4f} to {auc.high:.4f}; the whole interval must be above {CHANCE}"
    return Check("beyond_chance", bool(auc.low > CHANCE), finite(auc.low), CHANCE, said)


def why_forecast_baseline(evaluation: ForecastEvaluation, refused: str) -> str:
    """Why a baseline serves in place of a refused forecast, for the record."""
    assert evaluation.baseline is not None
    return (
        f"{words(evaluation.baseline)} serves, as a weekly regression: AUC"
        f" {evaluation.methods[SERVED]['auc'].value:.4f}. The model was refused: {refused}"
    )


def _best(methods: Mapping[str, Mapping[str, Score]], metric: str, sign: int) -> str:
    return max(methods, key=lambda name: sign * methods[name][metric].value)


def _scores(probability: Floats, came: Floats, seed: int) -> dict[str, Score]:
    if not len(came):
        return {}
    random = np.random.default_rng(seed)
    draws = [random.integers(0, len(came), len(came)) for _ in range(DRAWS)]
    found = {}
    for name, metric in (("auc", auc), ("average_precision", average_precision)):
        low, high = np.quantile([metric(probability[each], came[each]) for each in draws], (0.025, 0.975))
        found[name] = Score(metric(probability, came), float(low), float(high))
    wrong = (probability - came) ** 2
    return found | {"brier": Score(float(wrong.mean()), *interval(wrong, seed, DRAWS))}
