"""A comparison of methods on one split as plain values, for a table, JSON and a report."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baselines.orders import Orders
from ml.baselines.returning import FORECASTS, OPTIONAL, Forecast, expected_orders
from ml.chance_metrics import auc, average_precision, calibration, gains
from ml.evaluation import AGAIN, FIRST_TIME, NDCG, Measured, score, summary
from ml.log import Log
from ml.metrics import interval

# (name, least and most orders before the cut): of one order little is known, of many much
ACTIVITY = (("1 order", 1, 1), ("2 to 4 orders", 2, 4), ("5 to 9 orders", 5, 9), ("10 orders and more", 10, None))
NOVELTY = {"items bought before": AGAIN, "items never bought": FIRST_TIME}
DRAWS = 200  # of the bootstrap of a metric that is no mean over people

Bounds = dict[str, float]


def lists_document(measured: Measured, versions: Collection[str], seed: int) -> dict[str, Any]:
    """The metrics of every method over all items, in slices, and what each version is ahead of every other method."""
    names = list(measured.lists)
    if not names:
        return {}
    found = summary(measured, candidate=names[0], baselines=(), seed=seed)
    ahead = {
        name: {
            other: asdict(score(measured.lists[name].values(NDCG) - measured.lists[other].values(NDCG), seed))
            for other in names
            if other not in versions
        }
        for name in names
        if name in versions
    }
    scores = {
        method: {metric: asdict(value) for metric, value in each.items()} for method, each in found.methods.items()
    }
    return {
        "people": found.people,
        "items": found.items,
        "basket": found.basket,
        "methods": scores,
        "ahead": ahead,
        "slices": _slices(measured, seed),
    }


def _slices(measured: Measured, seed: int) -> list[dict[str, Any]]:
    """NDCG@10 of every method for people by their earlier orders, and for items by whether the person had them."""
    orders, everybody = measured.earlier, np.ones(len(measured.earlier), np.bool_)
    parts: list[tuple[str, str, str, NDArray[np.bool_]]] = [
        ("activity", name, NDCG, (orders >= least) & (orders <= (np.inf if most is None else most)))
        for name, least, most in ACTIVITY
    ]
    parts += [("novelty", name, metric, everybody) for name, metric in NOVELTY.items()]
    found = []
    for kind, name, metric, people in parts:
        values = {method: judged.values(metric)[people] for method, judged in measured.lists.items()}
        known = int((~np.isnan(next(iter(values.values())))).sum())
        scores = {method: asdict(score(each, seed)) for method, each in values.items()} if known else {}
        found.append({"kind": kind, "slice": name, "people": known, "ndcg_at_10": scores})
    return found


def forecasts_document(
    log: Log, cut: int, days: int, names: Collection[str], seed: int, versions: Mapping[str, Forecast]
) -> dict[str, Any]:
    """How well each named forecast, and each version, tells who orders again within the days after the cut."""
    named = {name: forecast for name, forecast in {**FORECASTS, **OPTIONAL}.items() if name in names}
    forecasts = {**versions, **named}
    orders = Orders.of(log)
    people = orders.people(cut)
    if not forecasts or not len(people.person):
        return {}
    later = orders.later(people, cut, days)
    came = (later > 0).astype(np.float64)
    methods = {name: _forecast(forecast(orders, cut, days), came, seed) for name, forecast in forecasts.items()}
    if "bg_nbd" in methods:
        expected, _ = expected_orders(orders, cut, days)
        methods["bg_nbd"]["mae_orders"] = _mean(np.abs(expected - later), seed)
    return {"people": len(came), "share": float(came.mean()), "days": days, "methods": methods}


def _forecast(probability: NDArray[np.float64], came: NDArray[np.float64], seed: int) -> dict[str, Any]:
    return {
        "auc": _drawn(auc, probability, came, seed),
        "average_precision": _drawn(average_precision, probability, came, seed),
        "brier": _mean((probability - came) ** 2, seed),
        "calibration": calibration(probability, came),
        "gains": gains(probability, came),
    }


def _mean(values: NDArray[np.float64], seed: int) -> Bounds:
    low, high = interval(values, seed)
    return {"value": float(values.mean()), "low": low, "high": high}


def _drawn(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    probability: NDArray[np.float64],
    came: NDArray[np.float64],
    seed: int,
) -> Bounds:
    random = np.random.default_rng(seed)
    draws = (random.integers(0, len(came), len(came)) for _ in range(DRAWS))
    low, high = np.quantile([metric(probability[each], came[each]) for each in draws], (0.025, 0.975))
    return {"value": metric(probability, came), "low": float(low), "high": float(high)}
