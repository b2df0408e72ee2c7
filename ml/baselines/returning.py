"""Forecasts of who orders again within some days, by name; each learns from what was before the cut alone."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ml.baselines import boosted
from ml.baselines.bg_nbd import BgNbd, Weeks, fit_bg_nbd
from ml.baselines.logistic import fit_logistic
from ml.baselines.orders import FEATURES, Orders, People, examples

WEEK = 7.0  # days
_QUIET = [FEATURES.index("quiet")]

Floats = NDArray[np.float64]
Probabilities = NDArray[np.float64]  # (people,) of `orders.people(cut)`
Forecast = Callable[[Orders, int, int], Probabilities]  # (all orders, the cut in seconds, days)


def last_order(orders: Orders, cut: int, days: int) -> Probabilities:
    """By the days since the last order alone."""
    return _regression(orders, cut, days, _QUIET)


def logistic_regression(orders: Orders, cut: int, days: int) -> Probabilities:
    """By all FEATURES."""
    return _regression(orders, cut, days, list(range(len(FEATURES))))


def bg_nbd(orders: Orders, cut: int, days: int) -> Probabilities:
    """By BG/NBD, fitted to the same people."""
    times = weeks(orders.people(cut))
    return fit_bg_nbd(*times).returns(*times, ahead=days / WEEK)


def expected_orders(orders: Orders, cut: int, days: int) -> tuple[NDArray[np.float64], BgNbd]:
    """(people,) the orders of each within the days by BG/NBD; and the fitted distribution."""
    times = weeks(orders.people(cut))
    model = fit_bg_nbd(*times)
    return model.expected(*times, ahead=days / WEEK), model


def weeks(people: People) -> tuple[NDArray[np.float64], Weeks, Weeks]:
    """(people,) each: the orders after the first, the weeks from it to the last, and those to the moment."""
    return (people.orders.astype(np.float64) - 1, (people.first - people.last) / WEEK, people.first / WEEK)


def _regression(orders: Orders, cut: int, days: int, columns: list[int]) -> Probabilities:
    features, came = examples(orders, cut, days)
    asked = orders.features(cut)[:, columns]
    if not len(came):
        return np.full(len(asked), 0.5)
    return fit_logistic(features[:, columns], came).probability(asked)


def _boosted(fitted: Callable[[Floats, Floats, Floats], Floats]) -> Forecast:
    def forecast(orders: Orders, cut: int, days: int) -> Probabilities:
        features, came = examples(orders, cut, days)
        asked = orders.features(cut)
        if len(np.unique(came)) < 2:  # LightGBM refuses one class
            return np.full(len(asked), came.mean() if len(came) else 0.5)
        return fitted(features, came, asked)

    return forecast


FORECASTS: Mapping[str, Forecast] = {
    "last_order": last_order,
    "bg_nbd": bg_nbd,
    "logistic_regression": logistic_regression,
}
OPTIONAL: Mapping[str, Forecast] = {  # the extra `evaluation`
    "xgboost": _boosted(boosted.xgboost),
    "lightgbm": _boosted(boosted.lightgbm),
}
