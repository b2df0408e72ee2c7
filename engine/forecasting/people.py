"""What the forecast that serves says of one person: whether they may leave, and when they order next."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from core.errors import InvalidInput
from ml.hazard.drivers import Driver, drivers
from ml.hazard.forecasts import LONGEST, expected_days, no_order
from ml.hazard.model import ForecastModel
from ml.state import State

DAY: Final = timedelta(days=1)
MEDIUM, HIGH = 1 / 3, 2 / 3  # the probabilities of leaving from which on a band begins


class ChurnBand(StrEnum):
    """How likely a person leaves."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


@dataclass(frozen=True, slots=True)
class Churn:
    """Of a person who ordered before."""

    probability: float  # of no order
    band: ChurnBand
    drivers: list[Driver]


@dataclass(frozen=True, slots=True)
class NextPurchase:
    """Of a person who ordered before."""

    probability: float  # of an order
    expected: datetime  # when, if so


def check_within(within: timedelta) -> float:
    """The days that a forecast looks ahead. Raises InvalidInput for less than one and more than LONGEST."""
    if not DAY <= within <= LONGEST * DAY:
        raise InvalidInput(f"A forecast looks ahead from P1D to P{LONGEST}D.", field="within")
    return within / DAY


def churn(model: ForecastModel, state: State, now: datetime, days: float) -> Churn:
    """Whether a person who ordered before orders no more within the days, and why."""
    features = model.features(state, int(now.timestamp()))
    probability = float(no_order(model.logits(features), days)[0])
    band = ChurnBand.HIGH if probability >= HIGH else ChurnBand.MEDIUM if probability >= MEDIUM else ChurnBand.LOW
    return Churn(probability, band, drivers(model, features, days))


def next_purchase(model: ForecastModel, state: State, now: datetime, days: float) -> NextPurchase:
    """Whether a person who ordered before orders within the days, and when."""
    logits = model.logits(model.features(state, int(now.timestamp())))
    expected = now.astimezone(UTC) + float(expected_days(logits, days)[0]) * DAY
    return NextPurchase(1 - float(no_order(logits, days)[0]), expected.replace(microsecond=0))
