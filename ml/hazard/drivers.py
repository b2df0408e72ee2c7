"""Why a person may leave: what each side of them adds to the log odds, beside a typical person of the shop."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.hazard.features import FEATURES, GROUP, GROUPS, Floats
from ml.hazard.forecasts import no_order
from ml.hazard.model import Forecaster
from ml.shapley import coalitions, shapley_values

_OWN = coalitions(len(GROUPS))[:, GROUP]  # (coalitions, FEATURES) whose values are the person's


class Driver(NamedTuple):
    """One side of a person, such as RECENCY."""

    side: str  # of GROUPS
    contribution: float  # to the log odds of no order; above 0 it speaks for leaving
    words: str


def drivers(forecaster: Forecaster, features: NDArray[np.float32], days: float) -> list[Driver]:
    """All sides of a person (1, FEATURES), the strongest first.

    The contributions are Shapley values (`ml.shapley`): what a side changes when it goes from the typical person's to
    this person's. They add up to the difference of the two log odds.
    """
    mixed = np.where(_OWN, features, forecaster.typical).astype(np.float32)
    quiet = np.clip(no_order(forecaster.logits(mixed), days), 1e-9, 1 - 1e-9)
    odds: Floats = np.log(quiet) - np.log1p(-quiet)
    figures = _Figures(features[0])
    values = zip(GROUPS, shapley_values(odds).tolist(), strict=True)
    found = [Driver(side, contribution, _WORDS[side](figures)) for side, contribution in values]
    return sorted(found, key=lambda driver: -abs(driver.contribution))


class _Figures:
    """The features of a person (FEATURES,) as they are said."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features

    def __getitem__(self, name: str) -> float:
        return float(np.expm1(FEATURES.read(self._features, name)))

    def count(self, name: str, noun: str) -> str:
        return _count(round(self[name]), noun)


def _rhythm(person: _Figures) -> str:
    if round(person["orders"]) < 2:
        return "There is one order only, so no rhythm is known."
    gap, quiet = person.count("median_gap", "day"), person.count("quiet", "day")
    return f"Between two orders are usually {gap}; since the last one it is {quiet}."


_WORDS: Mapping[str, Callable[[_Figures], str]] = {
    "RECENCY": lambda person: f"The last order was {person.count('quiet', 'day')} ago.",
    "FREQUENCY": lambda person: (
        f"{person.count('orders', 'order')} in {person.count('age', 'day')},"
        f" {round(person['orders_365']):,} in the last year."
    ),
    "RHYTHM": _rhythm,
    "TREND": lambda person: (
        f"{person.count('orders_90', 'order')} in the last 90 days,"
        f" {max(0, round(person['orders_180'] - person['orders_90'])):,} in the 90 days before."
    ),
    "SPEND": lambda person: (
        f"An order is worth {person['spend_per_order']:,.2f} on average, the last one {person['last_spend']:,.2f}."
    ),
    "BREADTH": lambda person: (
        f"{person.count('items', 'different item')} bought, {person.count('last_lines', 'line')} in the last order."
    ),
    "SEASON": lambda person: (
        f"The time of the year; {person.count('ahead_last_year', 'order')} in the 13 weeks that followed a year ago."
    ),
}


def _count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> _count(1, "day"), _count(2, "day")
    ('1 day', '2 days')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
