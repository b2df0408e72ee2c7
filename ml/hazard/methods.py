"""A forecast as a method to be compared with the baselines."""

import numpy as np
from numpy.typing import NDArray

from ml.baselines.orders import Orders
from ml.baselines.returning import Forecast
from ml.hazard.examples import States
from ml.hazard.features import person_features
from ml.hazard.forecasts import no_order
from ml.hazard.model import Forecaster
from ml.log import Log

AT_ONCE = 2_000  # people whose states are held


def forecast_method(forecaster: Forecaster, log: Log) -> Forecast:
    """What it says of the people of a log, each from what was before the cut."""

    def forecast(orders: Orders, cut: int, days: int) -> NDArray[np.float64]:
        people = orders.people(cut).person
        parts = np.array_split(people, -(-len(people) // AT_ONCE)) if len(people) else []
        found = [np.empty(0)]
        for part in parts:
            features = person_features(States(log).at(part.tolist(), cut), cut)
            found.append(1 - no_order(forecaster.logits(features), days))
        return np.concatenate(found)

    return forecast
