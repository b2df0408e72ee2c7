"""Why a person may leave: what each side of them adds to the log odds, beside a typical person of the shop."""

from itertools import product
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.hazard.features import FEATURES, GROUP, GROUPS, Floats
from ml.hazard.forecasts import no_order
from ml.hazard.model import Forecaster

_SIDES = np.array(list(product((False, True), repeat=len(GROUPS))))  # (2^groups, groups) whose values are the person's
_OWN = _SIDES[:, GROUP]  # (2^groups, FEATURES)


class Driver(NamedTuple):
    """One side of a person, such as RECENCY."""

    side: str  # of GROUPS
    contribution: float  # to the log odds of no order; above 0 it speaks for leaving
    words: str


def drivers(forecaster: Forecaster, features: NDArray[np.float32], days: float) -> list[Driver]:
    """All sides of a person (1, FEATURES), the strongest first.

    The contributions are Shapley values: what a side changes when it goes from the typical person's to this person's,
    over all orders in which the sides can go. They add up to the difference of the two log odds.
    """
    mixed = np.where(_OWN, features, forecaster.typical).astype(np.float32)
    quiet = np.clip(no_order(forecaster.logits(mixed), days), 1e-9, 1 - 1e-9)
    odds: Floats = np.log(quiet) - np.log1p(-quiet)
    n = len(GROUPS)
    count = _SIDES.sum(axis=1)
    found = []
    for index, side in enumerate(GROUPS):
        without = np.flatnonzero(~_SIDES[:, index])
        with_ = without + (1 << (n - 1 - index))
        weight = np.array([factorial(k) * factorial(n - 1 - k) / factorial(n) for k in count[without].tolist()])
        found.append(Driver(side, float(weight @ (odds[with_] - odds[without])), _words(side, features[0])))
    return sorted(found, key=lambda driver: -abs(driver.contribution))


def _words(side: str, features: NDArray[np.float32]) -> str:
    def value(name: str) -> float:
        return float(np.expm1(FEATURES.read(features, name)))

    def whole(name: str) -> int:
        return round(value(name))

    if side == "RECENCY":
        return f"The last order was {_count(whole('quiet'), 'day')} ago."
    if side == "FREQUENCY":
        year = _count(whole("orders_365"), "order")
        return f"{_count(whole('orders'), 'order')} in {_count(whole('age'), 'day')}, {year} of them in the last year."
    if side == "RHYTHM":
        if whole("orders") < 2:
            return "There is one order only, so no rhythm is known."
        gap, quiet = whole("median_gap"), whole("quiet")
        return f"Between two orders are usually {_count(gap, 'day')}; now it is {_count(quiet, 'day')} since the last."
    if side == "TREND":
        now, before = whole("orders_90"), max(0, whole("orders_180") - whole("orders_90"))
        return f"{_count(now, 'order')} in the last 90 days, after {before} in the 90 days before."
    if side == "SPEND":
        return f"An order is worth {value('spend_per_order'):,.2f} on average, the last one {value('last_spend'):,.2f}."
    if side == "BREADTH":
        share = float(FEATURES.read(features, "rebought"))
        return f"{_count(whole('items'), 'different item')} bought, {share:.0%} of them more than once."
    ahead = whole("ahead_last_year")
    return f"The time of the year; in the same weeks a year ago: {_count(ahead, 'order')}."


def _count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> _count(1, "day"), _count(2, "day")
    ('1 day', '2 days')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
