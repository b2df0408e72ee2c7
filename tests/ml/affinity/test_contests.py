"""The test span is cut in windows; tables are rebuilt as of the start of each, and nothing later is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.affinity.contests import contests
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.refreshing import as_of_cut
from ml.baselines.methods import METHODS, baseline_methods
from ml.baskets import first_baskets, rest_of_orders
from ml.evaluation import NDCG, Contest, Measured, Method, measure
from ml.log import Log, order_counts
from ml.snapshot import snapshot
from ml.splits import DAY, Window, windows_after
from ml.texts.learning import learned_projection
from ml.texts.likeness import Support, cold_items
from ml.universe import Universe
from ml.words import ItemText, ItemWords

MakeLog = Callable[..., Log]
COUNT = 4


@pytest.fixture
def old(make_log: MakeLog, now: int, tmp_path: Path, write_bundle: Callable[[Path, Universe], Path]) -> AffinityModel:
    """A model with tables as of four weeks ago."""
    return AffinityModel.open(write_bundle(tmp_path, snapshot(make_log(), make_log().numbers, now - 28 * DAY)))


def moved(log: Log, moment: int, among: NDArray[np.uint32] | None = None) -> Log:
    """The log with other items in every line from a second on."""
    later = log.occurred >= moment
    item = np.where(later, np.random.default_rng(1).choice(log.numbers if among is None else among, len(log)), log.item)
    columns = {name: getattr(log, name) for name in ("person", "occurred", "cents", "order", "numbers", "item_ids")}
    return Log.of(log.people, item=item.astype(np.uint32), **columns)


def with_words(log: Log) -> Log:
    """The log with the words of its items, and of ten items that nobody buys."""
    return replace(log, words=ItemWords.of({number: ItemText(f"{number % 4} of this") for number in range(1, 91)}))


def measured(log: Log, cut: int, windows: tuple[Window, ...], served: AffinityModel) -> Measured:
    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        return {
            "served": ranker_method(as_of_cut(served, past, universe, support)),
            **baseline_methods(past, universe, METHODS),
        }

    found = contests(log, windows, methods, item_limit=100, clockless=False)
    return measure(log, cut, found, seed=1, report=lambda done, of: None)


def test_what_is_bought_after_a_list_changes_nothing_in_it(old: AffinityModel, make_log: MakeLog, now: int) -> None:
    cut, log = now - 28 * DAY, make_log(people=100)
    windows = windows_after(log, cut, COUNT)
    moment = windows[0].start + (windows[0].end - windows[0].start) // 3  # within the first window
    true, poisoned = (measured(each, cut, windows, old) for each in (log, moved(log, moment)))
    before = true.baskets.visits < moment
    assert before.sum() > 10
    assert (~before).sum() > 20
    for name, judged in true.lists.items():
        other = poisoned.lists[name]
        for index in np.flatnonzero(before).tolist():
            np.testing.assert_array_equal(judged.tops[index], other.tops[index], err_msg=name)
        assert (judged.values(NDCG)[~before] != other.values(NDCG)[~before]).any(), "later lists are of other tables"


def test_everybody_who_came_back_is_judged_once_by_their_first_order(
    old: AffinityModel, make_log: MakeLog, now: int
) -> None:
    cut, log = now - 28 * DAY, make_log()
    windows = windows_after(log, cut, COUNT)
    assert (len(windows), windows[0].start, windows[-1].end) == (COUNT, cut, int(log.occurred.max()) + 1)
    assert all(6 * DAY < each.end - each.start <= 7 * DAY for each in windows)
    found = measured(log, cut, windows, old)
    assert found.tables == tuple(each.start for each in windows)
    wanted = first_baskets(log, cut)
    by = np.argsort(found.baskets.people)
    np.testing.assert_array_equal(found.baskets.people[by], wanted.people)
    np.testing.assert_array_equal(found.baskets.visits[by], wanted.visits)
    np.testing.assert_array_equal(found.earlier, order_counts(log.between(None, cut))[found.baskets.people])
    assert {len(judged.tops) for judged in found.lists.values()} == {len(wanted)}


def test_an_item_first_sold_within_the_test_span_is_ranked_in_the_windows_after_it(
    old: AffinityModel, make_log: MakeLog, now: int
) -> None:
    log, cut = make_log(people=200), now - 28 * DAY
    windows = windows_after(log, cut, COUNT)
    item = np.where((log.item == 1) & (log.occurred < cut), 2, log.item).astype(np.uint32)
    columns = {name: getattr(log, name) for name in ("person", "occurred", "cents", "order", "numbers", "item_ids")}
    found = contests(
        Log.of(log.people, item=item, **columns),
        windows,
        lambda past, universe, support: {},
        item_limit=100,
        clockless=False,
    )
    assert [1 in contest.numbers for contest in found] == [False, True, True, True]


def test_the_tables_of_the_champion_are_those_of_the_window(old: AffinityModel, make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 28 * DAY
    seen: list[Universe] = []

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        seen.append(as_of_cut(old, past, universe).universe)
        assert past.occurred.max() < windows[len(seen) - 1].start
        return {}

    windows = windows_after(log, cut, COUNT)
    made: list[Contest] = list(contests(log, windows, methods, item_limit=100, clockless=False))
    for contest, universe in zip(made, seen, strict=True):
        wanted = snapshot(log, contest.numbers, contest.window.start)
        np.testing.assert_array_equal(universe.near, wanted.near)
        np.testing.assert_array_equal(universe.columns, wanted.columns)


def test_a_short_test_span_has_fewer_windows_and_a_log_without_a_clock_one(
    make_log: MakeLog, make_sequences: MakeLog, now: int
) -> None:
    log = make_log()
    last = int(log.occurred.max())
    assert len(windows_after(log, last - 2 * DAY, COUNT)) == 2
    assert windows_after(log, last, COUNT) == (Window(last, last + 1),)
    sequences = make_sequences()
    last = int(sequences.occurred.max())
    assert windows_after(sequences, last, COUNT) == (Window(last, last + 1),)


def likely_cold(log: Log, cut: int, model: AffinityModel) -> AffinityModel:
    """The model with cold items beside the 60 best supported ones, above all others."""
    support, words = Support.of(log.between(None, cut), 60), log.words
    projection = learned_projection(log, model.universe.numbers, cut, 7)
    assert projection is not None
    assert words is not None
    cold = cold_items(projection, words, model.universe.numbers, support)
    assert cold is not None
    return replace(model, universe=model.universe.with_cold(cold.with_chance(1.0, 20.0)))


def test_cold_items_are_as_of_the_window_and_nothing_later_changes_them(
    old: AffinityModel, make_log: MakeLog, now: int
) -> None:
    cut, log = now - 140 * DAY, with_words(make_log(people=100))
    windows = windows_after(log, cut, COUNT)
    rarest = Support.of(log.between(None, cut), 60).outside[-1:]
    poisoned = replace(moved(log, windows[1].start + DAY, among=rarest), words=log.words)
    served = likely_cold(log, cut, old)
    seen: list[Universe] = []

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        assert universe.cold is None, "baselines have none"
        seen.append(as_of_cut(served, past, universe, support).universe)
        return {}

    for each in (log, poisoned):
        assert len(list(contests(each, windows, methods, item_limit=60, clockless=False))) == COUNT
    same = []
    for true, other in zip(seen[:COUNT], seen[COUNT:], strict=True):
        assert true.cold is not None
        assert other.cold is not None
        np.testing.assert_array_equal(true.cold.numbers, np.setdiff1d(np.arange(1, 91), true.numbers))
        assert true.cold.chance is not None
        assert true.cold.chance.tolist() == [1.0, 20.0]
        parts = other.cold.parts()
        same.append(all(np.array_equal(part, parts[name]) for name, part in true.cold.parts().items()))
    assert same == [True, True, False, False]


def test_lists_of_versions_have_cold_items_which_are_right_where_they_were_bought(
    old: AffinityModel, make_log: MakeLog, now: int
) -> None:
    cut, log = now - 28 * DAY, with_words(make_log(people=100))
    served = likely_cold(log, cut, old)

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        outside = np.setdiff1d(log.numbers, universe.numbers)
        return {
            "served": ranker_method(as_of_cut(served, past, universe, support)),
            "without": ranker_method(as_of_cut(served, past, universe)),
            "outside": lambda history, as_of: outside,
            "everything": lambda history, as_of: log.numbers,
        }

    (contest,) = contests(log, windows_after(log, cut, 1), methods, item_limit=60, clockless=False)
    found = measure(log, cut, [contest], seed=1, report=lambda done, of: None)
    tops = found.lists["served"].tops
    assert sum(not np.isin(top, contest.numbers).all() for top in tops) > len(tops) / 2
    assert all(np.isin(top, contest.numbers).all() for top in found.lists["without"].tops)
    np.testing.assert_array_equal(found.baskets.items, first_baskets(log.of_items(contest.numbers), cut).items)
    right = np.array([len(each) > 0 for each in rest_of_orders(log, found.baskets, contest.numbers)])
    assert 0 < right.sum() < len(right)
    np.testing.assert_array_equal(found.lists["outside"].values("mrr") > 0, right)
    assert found.lists["everything"].values(NDCG).max() <= 1
