"""Forecasts of who comes back: the textbook's figures, values computed by hand, and odd logs."""

from collections.abc import Callable
from ctypes.util import find_library

import numpy as np
import pytest

from core.errors import InvalidInput
from ml.baselines.bg_nbd import BgNbd, fit_bg_nbd
from ml.baselines.boosted import require_package
from ml.baselines.logistic import fit_logistic
from ml.baselines.orders import FEATURES, Orders, examples
from ml.baselines.returning import FORECASTS, OPTIONAL, expected_orders
from ml.chance_metrics import auc
from ml.log import Log
from tests.shops import NOW, Shop, make_shop

DAY = 86_400
CUT = 1_700_000_000
LogOf = Callable[..., Log]
TEXTBOOK = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)  # of CDNOW, in weeks


def one(value: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([value])


def test_the_textbooks_customer_orders_1_226_times() -> None:
    """Two repeat orders, the last in week 30.43 of 38.86: Fader, Hardie and Lee expect 1.226 in the next 39 weeks."""
    assert TEXTBOOK.expected(one(2), one(30.43), one(38.86), 39)[0] == pytest.approx(1.226, abs=5e-4)


def test_who_never_came_back_may_still_be_alive_and_the_more_quiet_the_less_likely() -> None:
    assert TEXTBOOK.alive(one(0), one(0), one(38.86))[0] == 1
    late, lately = TEXTBOOK.alive(np.array([3.0, 3.0]), np.array([5.0, 35.0]), np.array([38.0, 38.0]))
    assert late < 0.2 < lately
    assert TEXTBOOK.returns(one(2), one(30.43), one(38.86), 1e9)[0] == pytest.approx(
        TEXTBOOK.alive(one(2), one(30.43), one(38.86))[0], abs=0.02
    )


def test_the_fit_finds_the_distribution_that_people_were_drawn_from() -> None:
    random = np.random.default_rng(3)
    people, age = 4_000, 60.0
    rate, leaving = random.gamma(0.8, 1 / 6, people), random.beta(1.2, 3, people)
    x, recency = np.zeros(people), np.zeros(people)
    for person in range(people):
        at = random.exponential(1 / rate[person])
        while at < age:
            x[person], recency[person] = x[person] + 1, at
            if random.random() < leaving[person]:
                break
            at += random.exponential(1 / rate[person])
    found = fit_bg_nbd(x, recency, np.full(people, age))
    assert (found.r, found.alpha) == pytest.approx((0.8, 6), rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(1.2 / 4.2, rel=0.2)


def test_the_figures_of_a_person_are_those_of_the_orders_before_the_moment(log_of: LogOf) -> None:
    log = log_of(("a", 1, 40, 1), ("a", 2, 40, 1), ("a", 1, 10, 2), ("b", 1, 400, 1), ("c", 1, -5, 1))
    orders = Orders.of(log)
    people = orders.people(CUT)
    assert people.person.tolist() == [0], "b was quiet for a year, c had not come yet"
    row = orders.features(CUT)[0]
    known = {name: float(np.expm1(FEATURES.read(row, name))) for name in FEATURES}
    wanted = {"orders": 2, "quiet": 10, "age": 40, "gap": 30, "last_gap": 30, "lateness": 1 / 3, "spend": 150}
    assert known == pytest.approx(wanted | {"orders_30": 1, "orders_90": 2, "orders_180": 2, "orders_365": 2})
    assert orders.later(orders.people(CUT + DAY), CUT + DAY, 6).tolist() == [0]
    assert orders.later(orders.people(CUT - 20 * DAY), CUT - 20 * DAY, 11).tolist() == [1]


def test_the_regression_of_one_split_is_its_log_odds() -> None:
    features, outcome = (
        np.repeat([[0.0], [1.0]], 400, axis=0),
        np.r_[np.zeros(300), np.ones(100), np.zeros(100), np.ones(300)],
    )
    model = fit_logistic(features, outcome)
    assert model.probability(np.array([[0.0], [1.0]])).tolist() == pytest.approx([0.25, 0.75], abs=2e-3)


def test_a_regression_of_one_class_or_of_constant_features_is_bounded() -> None:
    model = fit_logistic(np.full((20, 2), 3.0), np.ones(20))
    assert 0.5 < model.probability(np.full((1, 2), 3.0))[0] < 1
    assert model.weights.tolist() == [0, 0]


def test_forecasts_are_probabilities_and_better_than_chance_on_a_shop_where_some_come_often() -> None:
    random = np.random.default_rng(0)
    parts = [make_shop(Shop(people=150, orders=orders, seed=seed)) for seed, orders in enumerate((3, 12))]
    orders = Orders(
        np.concatenate([Orders.of(part).person + 1_000 * index for index, part in enumerate(parts)]).astype(np.int32),
        np.concatenate([Orders.of(part).occurred for part in parts]),
        np.concatenate([Orders.of(part).cents for part in parts]),
    )
    cut = NOW - 45 * DAY
    came = (orders.later(orders.people(cut), cut, 45) > 0).astype(float)
    for name, forecast in FORECASTS.items():
        found = forecast(orders, cut, 45)
        assert ((found >= 0) & (found <= 1)).all(), name
        assert auc(found, came) > (0.6 if name == "last_order" else 0.7), name
        shuffled = random.permutation(found)
        assert auc(found, came) > auc(shuffled, came), name
    assert expected_orders(orders, cut, 45)[0].sum() == pytest.approx(
        orders.later(orders.people(cut), cut, 45).sum(), rel=0.3
    )


def test_a_later_order_changes_no_forecast(log_of: LogOf) -> None:
    lines = [(person, 1, days, days) for person in "abcdef" for days in (200, 150, 90, 40, 20, ord(person) % 15)]
    known, more = (Orders.of(log_of(*lines, *later)) for later in ((), (("a", 1, -3, 7), ("b", 2, -9, 8))))
    for name, forecast in FORECASTS.items():
        np.testing.assert_array_equal(forecast(known, CUT, 30), forecast(more, CUT, 30), err_msg=name)


@pytest.mark.parametrize("lines", [[("a", 1, 9, 1)], [("a", 1, 9, 1), ("b", 1, 9, 1)], [("a", 1, -9, 1)]])
def test_forecasts_of_tiny_logs_are_finite(log_of: LogOf, lines: list[tuple[str, int, int, int]]) -> None:
    orders = Orders.of(log_of(*lines))
    assert not len(examples(orders, CUT, 30)[1])
    for forecast in FORECASTS.values():
        assert np.isfinite(forecast(orders, CUT, 30)).all()


def test_an_absent_package_is_said_in_one_sentence() -> None:
    with pytest.raises(
        InvalidInput, match=r"^no_such_package is not installed here: install penchant\[evaluation\]\.$"
    ):
        require_package("no_such_package")


@pytest.mark.parametrize("name", OPTIONAL)
def test_boosted_trees_tell_who_comes_often_or_say_what_is_missing(name: str) -> None:
    """LightGBM's wheel needs the system's OpenMP library, which few images have."""
    often, seldom = (Orders.of(make_shop(Shop(people=80, orders=orders))) for orders in (14, 3))
    orders = Orders(
        np.concatenate([often.person, seldom.person + 1_000]).astype(np.int32),
        np.concatenate([often.occurred, seldom.occurred]),
        np.concatenate([often.cents, seldom.cents]),
    )
    cut = NOW - 45 * DAY
    if name == "lightgbm" and find_library("gomp") is None:
        with pytest.raises(InvalidInput, match="lightgbm is not usable"):
            OPTIONAL[name](orders, cut, 45)
        return
    found = OPTIONAL[name](orders, cut, 45)
    assert auc(found, (orders.later(orders.people(cut), cut, 45) > 0).astype(float)) > 0.65
