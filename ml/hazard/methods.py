"""A forecast as a method to be compared with the baselines."""

import numpy as np
from numpy.typing import NDArray

from ml.baselines.orders import Orders
from ml.baselines.returning import Forecast
from ml.hazard.examples import BINS, Floats, States
from ml.hazard.features import person_features
from ml.hazard.forecasts import no_order
from ml.hazard.model import Forecaster
from ml.log import Log

AT_ONCE = 2_000  # people whose states are held


def forecast_method(forecaster: Forecaster, log: Log) -> Forecast:
    """What it says of the people of a log, each from what was before the cut."""

    def forecast(orders: Orders, cut: int, days: int) -> NDArray[np.float64]:
        return 1 - no_order(logits_of(forecaster, log, orders.people(cut).person, cut), days)

    return forecast


def logits_of(forecaster: Forecaster, log: Log, people: NDArray[np.integer], as_of: int) -> Floats:
    """(people, BINS) weekly hazards of some people of a log, from what was before a second."""
    parts = np.array_split(people, -(-len(people) // AT_ONCE)) if len(people) else []
    features = (person_features(States(log).at(part.tolist(), as_of), as_of) for part in parts)
    return np.concatenate([np.empty((0, BINS), np.float32), *(forecaster.logits(each) for each in features)])
