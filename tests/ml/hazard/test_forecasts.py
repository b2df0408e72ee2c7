"""From hazards to probabilities and days, and what a forecast is explained by."""

import numpy as np
import pytest

from ml.affinity.network import Network
from ml.hazard.drivers import drivers
from ml.hazard.examples import BINS, WEEKS
from ml.hazard.features import FEATURES, GROUPS
from ml.hazard.forecasts import expected_days, log_quiet, no_order
from ml.hazard.model import Forecaster

HALF = np.zeros((1, BINS), np.float32)  # every week an order is as likely as not


@pytest.mark.parametrize(("days", "quiet"), [(7, 0.5), (14, 0.25), (3.5, 0.5**0.5), (91, 0.5**13), (140, 0.5**20)])
def test_the_probability_holds_for_any_time(days: float, quiet: float) -> None:
    assert no_order(HALF, days)[0] == pytest.approx(quiet)


@pytest.mark.parametrize("days", [1, 7, 30, 90, 91, 92, 365])
def test_the_logarithms_of_whole_weeks_say_the_same(days: int) -> None:
    logits = np.random.default_rng(3).normal(-2, 1, (4, BINS))
    weeks = log_quiet(logits)
    week = min(days // 7, WEEKS)
    more = days / 7 - week
    found = np.exp((1 - more) * weeks[:, week] + more * weeks[:, week + 1])
    assert found == pytest.approx(no_order(logits, days))


def test_the_expected_day_lies_within_the_time() -> None:
    assert expected_days(HALF, 7)[0] == pytest.approx(3.5)
    assert 0 < expected_days(HALF, 30)[0] < expected_days(HALF, 300)[0] < 15
    never = np.full((1, BINS), -60, np.float32)
    assert 0 < expected_days(never, 30)[0] < 30


@pytest.fixture
def forecaster() -> Forecaster:
    random = np.random.default_rng(0)
    n = len(FEATURES)
    layers = [random.normal(size=(n, 8)) / n**0.5, random.normal(size=(8, BINS)) / 3]
    network = Network(
        tuple(each.astype(np.float32) for each in layers), (np.zeros(8, np.float32), np.full(BINS, -2, np.float32))
    )
    low, high = np.full(n, -3, np.float32), np.full(n, 3, np.float32)
    return Forecaster(network, low, high, np.zeros(n, np.float32))


def test_contributions_add_up_to_the_difference_from_the_typical_person(forecaster: Forecaster) -> None:
    person = np.random.default_rng(1).normal(size=(1, len(FEATURES))).astype(np.float32)

    def odds(features: np.ndarray) -> float:
        quiet = no_order(forecaster.logits(features), 90)[0]
        return float(np.log(quiet / (1 - quiet)))

    found = drivers(forecaster, person, 90)
    assert {driver.side for driver in found} == set(GROUPS)
    total = sum(driver.contribution for driver in found)
    assert total == pytest.approx(odds(person) - odds(forecaster.typical[None]), rel=1e-5)
    sizes = [abs(driver.contribution) for driver in found]
    assert sizes == sorted(sizes, reverse=True)


def test_a_side_that_the_forecast_ignores_contributes_nothing(forecaster: Forecaster) -> None:
    forecaster.network.kernels[0][[FEATURES.index(name) for name in GROUPS["SPEND"]]] = 0
    person = np.ones((1, len(FEATURES)), np.float32)
    (spend,) = (driver for driver in drivers(forecaster, person, 90) if driver.side == "SPEND")
    assert spend.contribution == pytest.approx(0, abs=1e-6)
    assert spend.words.startswith("An order is worth")


def test_what_training_never_saw_says_no_more_than_the_furthest_that_it_saw(forecaster: Forecaster) -> None:
    far = np.full((1, len(FEATURES)), 1e9, np.float32)
    assert np.array_equal(forecaster.logits(far), forecaster.logits(np.full_like(far, 3)))
