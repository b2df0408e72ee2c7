"""Who leaves and who orders when: the hazard net on Online Retail II beside logistic regression, XGBoost and BG/NBD."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.figures import Figure
from benchmarks.retail_log import CUT, retail_log
from ml.log import Log

MINUTES = 3
DAYS = 90
SEEDS = 3
DAY = 86_400


def run(seed: int) -> dict[str, Figure]:
    """Train on what is before the cut, then say for everybody who bought in the year before it who buys after it."""
    from ml.hazard.training import DEFAULT, train

    log = retail_log()
    found: list[Mapping[str, Mapping[str, float]]] = []
    for at in range(SEEDS):
        trained = train(log, CUT, lambda stage, done, of: None, replace(DEFAULT, seed=seed + at))
        methods = trained.evaluation.methods
        found.append({name: {metric: score.value for metric, score in each.items()} for name, each in methods.items()})
    net = methods["hazard_net"]
    ours = {metric: [each["hazard_net"][metric] for each in found] for metric in net}
    strong = _same_features(log, seed)
    baselines = {name.replace("_", " "): scores["auc"] for name, scores in found[-1].items() if name != "hazard_net"}
    floor = max(strong.values()) - 0.003
    said = ", ".join(f"{name} {value:.4f}" for name, value in {**baselines, **strong}.items())
    figures = {
        metric: Figure(float(np.mean(ours[metric])), unit, net[metric].low, net[metric].high, reference)
        for metric, unit, reference in (
            ("auc", "", f"at least {floor:.4f}; {said}"),
            ("average_precision", "", "of those who come back"),
            ("brier", "", "at most .197; " + ", ".join(f"{n} {s['brier']:.4f}" for n, s in found[-1].items())),
            ("rmse_days", "days", "at most 24.2; those who ordered within 90 days"),
        )
    }
    spread = Figure(max(ours["auc"]) - min(ours["auc"]), "", reference=f"of {SEEDS} seeds")
    people = Figure(trained.evaluation.people, "", reference="who ordered in the 365 days before the cut")
    best = Figure(max(strong.values()), "", reference="the better of logistic regression and XGBoost, on our features")
    return figures | {"auc_best_baseline": best, "auc_spread": spread, "people": people}


def _same_features(log: Log, seed: int) -> dict[str, float]:
    """The AUC of strong baselines: on the net's features, learned from ten moments whose 90 days end by the cut."""
    from ml.baselines import boosted
    from ml.baselines.logistic import fit_logistic
    from ml.baselines.orders import Orders
    from ml.chance_metrics import auc
    from ml.hazard.examples import examples

    past, orders = log.between(None, CUT), Orders.of(log)
    moments = [CUT - (DAYS + 30 * back) * DAY for back in range(10)]
    rows = examples(past, orders, moments, CUT, most=len(log.people), seed=seed, done=lambda done: None)
    end = int(log.occurred.max()) + 1
    asked = examples(past, orders, [CUT], end, most=len(log.people), seed=seed, done=lambda done: None)
    features, came = rows.features.astype(np.float64), (rows.days < DAYS).astype(np.float64)
    tested, later = asked.features.astype(np.float64), (asked.days < DAYS).astype(np.float64)
    return {
        "logistic regression on our features": auc(fit_logistic(features, came).probability(tested), later),
        "XGBoost on our features": auc(boosted.xgboost(features, came, tested), later),
    }
