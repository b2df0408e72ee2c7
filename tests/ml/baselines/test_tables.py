"""The tables of item-kNN, EASE and sequential rules: values computed by hand, odd logs, and how they serve."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.affinity.baseline_networks import baseline_network, baseline_universe
from ml.affinity.methods import ranker_method
from ml.affinity.ranking import Ranker
from ml.baselines.ease import ease
from ml.baselines.item_knn import SHRINK, item_knn
from ml.baselines.item_tables import ItemTable, LastState, source_weights, table_method
from ml.baselines.methods import BASELINES, METHODS, TABLES, baseline_methods
from ml.ease import HALF_LIFE, L2
from ml.evaluation import Method
from ml.log import Log
from ml.snapshot import snapshot
from ml.ties import mixed
from ml.universe import Universe
from tests.shops import NOW, Shop, make_shop

DAY = 86_400
CUT = 1_700_000_000
LogOf = Callable[..., Log]


def universe_of(log: Log) -> Universe:
    return snapshot(log, log.numbers, CUT)


def listed(universe: Universe, table: ItemTable, number: int) -> dict[int, float]:
    """The items that one item speaks for, with their scores."""
    row = int(universe.rows(np.array([number]))[0])
    real = table.scores[row] > 0
    return dict(zip(universe.numbers[table.rows[row][real]].tolist(), table.scores[row][real].tolist(), strict=True))


def test_item_knn_is_the_shrunk_cosine_of_who_bought_what(log_of: LogOf) -> None:
    log = log_of(
        ("a", 1, 9, 1), ("a", 2, 9, 1), ("b", 1, 8, 1), ("b", 1, 7, 2), ("b", 2, 5, 3), ("c", 1, 9, 1), ("c", 3, 9, 1)
    )
    table = item_knn(log, universe := universe_of(log))
    assert listed(universe, table, 1) == pytest.approx({2: 2 / (6**0.5 + SHRINK), 3: 1 / (3**0.5 + SHRINK)})
    assert listed(universe, table, 3) == pytest.approx({1: 1 / (3**0.5 + SHRINK)})
    assert listed(universe, table, 4) == {}


def ease_value(days: float) -> float:
    """What a purchase counts after some days."""
    return float(np.log1p(0.5 ** (days * DAY / HALF_LIFE)))


def test_ease_of_two_items_is_the_regression_of_one_on_the_other(log_of: LogOf) -> None:
    log = log_of(("a", 1, 9, 1), ("a", 2, 9, 1), ("b", 1, 8, 1), ("b", 2, 5, 2), ("c", 1, 9, 1))
    table = ease(log, universe := universe_of(log))
    nine, eight, five = (ease_value(days) for days in (9, 8, 5))
    both = nine**2 + eight * five
    assert listed(universe, table, 1) == pytest.approx({2: both / (2 * nine**2 + eight**2 + L2)}, rel=1e-4)
    assert listed(universe, table, 2) == pytest.approx({1: both / (nine**2 + five**2 + L2)}, rel=1e-4)


def test_ease_of_many_items_solves_its_equations(log_of: LogOf) -> None:
    """Steck's solution: off the diagonal, (X'X + L2) B = X'X less a diagonal matrix."""
    random = np.random.default_rng(5)
    bought = random.random((40, 6)) < 0.4
    log = log_of(*((f"p{person:02}", item + 1, 9, 1) for person, item in np.argwhere(bought).tolist()), items=6)
    table = ease(log, universe := universe_of(log))
    gram = (bought.T @ bought.astype(float)) * ease_value(9) ** 2 + L2 * np.eye(6)
    inverse = np.linalg.inv(gram)
    expected = -inverse / np.diag(inverse)
    for item in range(6):
        wanted = {other + 1: expected[item, other] for other in range(6) if other != item and expected[item, other] > 0}
        assert listed(universe, table, item + 1) == pytest.approx(wanted, rel=1e-4)


def test_an_item_counts_less_after_each_later_order(log_of: LogOf) -> None:
    log = log_of(("a", 3, 30, 1), ("a", 1, 20, 2), ("a", 2, 10, 3), ("a", 3, 10, 3))
    state = log.state(0, CUT)
    assert source_weights(state, 0.7).tolist() == pytest.approx([0.7, 1, 1])
    assert source_weights(state, 1.0).tolist() == [1, 1, 1]


def test_a_list_sums_the_table_leaves_out_what_rests_and_ends_with_popular_items(log_of: LogOf) -> None:
    lines = [("a", 1, 9, 1), ("a", 2, 9, 1), ("b", 1, 8, 1), ("b", 2, 5, 3), ("c", 1, 9, 1), ("c", 3, 9, 1)]
    log = log_of(*lines, ("d", 1, 3, 1), ("e", 4, 2, 1), ("f", 4, 2, 1))
    universe = universe_of(log)
    method = table_method(universe, item_knn(log, universe))
    assert method(log.history(3, CUT), CUT).tolist() == [2, 3, 4], "1 was bought and nobody buys anything again"
    assert method(log.history(3, CUT)[:0], CUT).tolist() == universe.popular_numbers.tolist()


def test_methods_that_share_states_tell_people_and_moments_apart(log_of: LogOf) -> None:
    log = log_of(("a", 1, 9, 1), ("a", 2, 3, 2), ("b", 3, 8, 1), ("b", 1, 5, 2))
    universe, states = universe_of(log), LastState()
    table = item_knn(log, universe)
    shared, alone = table_method(universe, table, states), table_method(universe, table)
    for person, moment in ((0, CUT), (1, CUT), (1, CUT - 6 * DAY), (0, CUT - 6 * DAY), (0, CUT)):
        history = log.history(person, moment)
        assert shared(history, moment).tolist() == alone(history, moment).tolist()
    assert states(history, CUT) is states(history, CUT)


@pytest.mark.parametrize(
    "lines",
    [
        [("a", 1, 9, 1)],
        [("a", 1, 9, 1), ("a", 1, 8, 2), ("a", 1, 7, 3)],
        [("a", 1, 9, 1), ("b", 2, 8, 1), ("c", 3, 7, 1)],
        [("a", 1, 9, 1), ("a", 2, 8, 2), ("a", 3, 7, 3)],
        [("a", 1, 9, 1), ("b", 1, 9, 1)],
    ],
    ids=["one line", "one item", "nobody comes back", "one person", "one order each"],
)
def test_odd_logs_give_every_method_a_list_of_distinct_items(
    log_of: LogOf, lines: list[tuple[str, int, int, int]]
) -> None:
    log = log_of(*lines)
    methods = baseline_methods(log, universe_of(log), METHODS)
    assert list(methods) == list(METHODS)
    for name, method in methods.items():
        for history in (log.history(0, CUT), log.history(0, CUT)[:0]):
            found = method(history, CUT).tolist()
            assert len(set(found)) == len(found) >= 1, name


def test_equal_items_go_by_popularity_then_by_a_hash(log_of: LogOf) -> None:
    everybody = [(person, item, 9, 1) for person in "abc" for item in (1, 2, 3)]
    log = log_of(*everybody, ("d", 4, 9, 1), items=4)
    universe = universe_of(log)
    hashed = sorted([1, 2, 3], key=lambda number: int(mixed(np.array([number]))[0]))
    assert hashed != [1, 2, 3]
    assert universe.popular_numbers.tolist() == [*hashed, 4]
    history = log.history(3, CUT)
    for name, method in baseline_methods(log, universe, METHODS).items():
        assert [number for number in method(history, CUT).tolist() if number != 4] == hashed, name


def first_ten_agree(method: Method, served: Method, log: Log) -> float:
    """The mean share of a method's first ten items that it also serves there."""
    people = np.unique(log.person)[::7].tolist()
    histories = [log.history(person, NOW) for person in people]
    return float(np.mean([len(np.intersect1d(method(h, NOW)[:10], served(h, NOW)[:10])) / 10 for h in histories]))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_serves_the_list_that_it_was_evaluated_with(name: str) -> None:
    log = make_shop(Shop(people=150, items=120))
    universe = snapshot(log, log.numbers, NOW)
    served = ranker_method(Ranker(baseline_universe(name, log, universe), baseline_network(name)))
    assert first_ten_agree(baseline_methods(log, universe)[name], served, log) > 0.99


def test_every_mandatory_baseline_can_serve() -> None:
    for name in BASELINES:
        assert baseline_network(name).kernels[0].any()
