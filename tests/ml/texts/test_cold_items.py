"""Items that nobody bought yet, by their words."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ml.affinity.cold_candidates import MOST, cold_evidence, fit_cold_chance, strongest
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import rank, view_person
from ml.affinity.refreshing import refreshed
from ml.affinity.reranking import rerank
from ml.affinity.similar import has_similar, similar
from ml.affinity.sources import history
from ml.cold_items import ColdItems
from ml.fallback import Fallback
from ml.log import Log
from ml.ranked import REASON, Ranked
from ml.splits import Window
from ml.state import State, Table, fold
from ml.texts.learning import as_of_now, learned_projection
from ml.texts.likeness import MOST_COLD, Support, cold_items
from ml.texts.projection import Projection
from ml.universe import Universe
from ml.words import BUCKETS, ItemText, ItemWords

MakeLog = Callable[..., Log]
MakeEvents = Callable[..., Table]
KINDS = ("green tea", "oak table", "wool sock", "toy train")  # of the items 1 to 80, in turn
DAY = 86_400
NEW = {101: "green tea, new blend", 102: "toy train, new engine", 103: ""}


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def texts() -> dict[int, ItemText]:
    sold = {number: ItemText(f"{kind_of(number)} no {number}") for number in range(1, 81)}
    return sold | {number: ItemText(title) for number, title in NEW.items()}


@pytest.fixture(scope="module")
def log(make_log: MakeLog) -> Log:
    return replace(make_log(), words=ItemWords.of(texts()))


@pytest.fixture(scope="module")
def cold(log: Log, universe: Universe, now: int) -> ColdItems:
    projection = learned_projection(log, universe.numbers, now, 7)
    assert projection is not None
    found = cold_items(projection, words_of(log), universe.numbers, Support.of(log, 100))
    assert found is not None
    return found


@pytest.fixture
def tea_drinker(make_events: MakeEvents, now: int) -> State:
    teas = [number for number in range(1, 81) if kind_of(number) == "green tea"][:5]
    return fold(State.empty(), np.concatenate([make_events(*teas, at=now - week * 7 * DAY) for week in (1, 2, 3)]))


def words_of(log: Log) -> ItemWords:
    assert log.words is not None
    return log.words


def everything() -> np.ndarray:
    return np.arange(120) > 0


def test_items_without_words_or_with_a_sale_are_not_among_them(cold: ColdItems) -> None:
    np.testing.assert_array_equal(cold.numbers, [101, 102])
    assert cold.row(101) == 0
    assert cold.row(103) is None
    assert cold.row(5) is None


def test_evidence_is_of_what_reads_like_the_own_purchases(
    cold: ColdItems, universe: Universe, tea_drinker: State, now: int
) -> None:
    evidence = cold_evidence(history(universe.with_cold(cold), tea_drinker, now))
    said = dict(zip(evidence.numbers.tolist(), evidence.sums.tolist(), strict=True))
    assert said[101] > 3 * said.get(102, 0.0)


def test_an_item_never_sold_is_listed_at_its_chance_with_the_purchase_it_is_like(
    cold: ColdItems, universe: Universe, tea_drinker: State, now: int, tmp_path: Path,
    write_bundle: Callable[[Path, Universe], Path],
) -> None:  # fmt: skip
    fallback, none = Fallback.popular(universe.popular_numbers), np.empty(0, np.uint32)

    def ask(model: AffinityModel) -> Ranked:
        return rank(
            model, tea_drinker, as_of=now, allowed=everything(), context=none, fallback=fallback, first=40
        )  # fmt: skip

    likely = AffinityModel.open(write_bundle(tmp_path / "a", universe.with_cold(cold.with_chance(1.0, 9.0))))
    listed = ask(likely)
    assert listed.numbers[0] == 101
    assert listed.reasons[0] == REASON["SIMILAR_TO"]
    assert kind_of(int(listed.because[0])) == "green tea"
    assert listed.because[0] in tea_drinker.bought["item"]
    unlikely = AffinityModel.open(write_bundle(tmp_path / "b", universe.with_cold(cold.with_chance(1.0, -9.0))))
    without = AffinityModel.open(write_bundle(tmp_path / "c", universe.with_cold(cold)))
    ten = ask(unlikely).numbers[:10]
    np.testing.assert_array_equal(ten, ask(without).numbers[:10])
    again = rerank(view_person(likely, tea_drinker, as_of=now, context=none),
                   np.array([7, 101], np.uint32), everything(), fallback)  # fmt: skip
    assert again.numbers[again.order][0] == 101


def test_an_item_that_the_person_bought_meanwhile_is_no_longer_one_that_nobody_bought(
    cold: ColdItems, universe: Universe, tea_drinker: State, make_events: MakeEvents, now: int
) -> None:
    state = fold(tea_drinker, make_events(101, at=now - DAY))
    assert 101 not in cold_evidence(history(universe.with_cold(cold), state, now)).numbers


def test_a_filter_does_not_shorten_what_enters_a_list(
    cold: ColdItems, universe: Universe, tea_drinker: State, now: int
) -> None:
    evidence = cold_evidence(history(universe.with_cold(cold), tea_drinker, now))
    many = evidence._replace(numbers=np.arange(200, 300, dtype=np.uint32), sums=np.linspace(0.1, 1, 100))
    allowed = np.arange(400) % 2 == 0
    np.testing.assert_array_equal(strongest(many, allowed), np.arange(300 - 2 * MOST, 300, 2))
    assert not len(strongest(many, allowed[:100]))


def test_similar_to_an_item_never_sold_is_what_reads_like_it(cold: ColdItems, universe: Universe) -> None:
    fallback = Fallback.popular(universe.popular_numbers)
    listed = similar(universe.with_cold(cold), 102, everything(), fallback, 5)
    assert {kind_of(number) for number in listed.numbers.tolist()} == {"toy train"}
    assert (listed.reasons == REASON["SIMILAR_TO"]).all()
    assert has_similar(universe.with_cold(cold), 102)
    assert not has_similar(universe.with_cold(cold), 103)
    assert not has_similar(universe, 102)
    assert has_similar(universe, 5)


def test_a_bundle_keeps_them(
    cold: ColdItems, universe: Universe, tmp_path: Path, write_bundle: Callable[[Path, Universe], Path]
) -> None:
    read = AffinityModel.open(write_bundle(tmp_path, universe.with_cold(cold.with_chance(0.5, -3.0)))).universe.cold
    assert read is not None
    assert read.chance is not None
    assert read.chance.tolist() == [0.5, -3.0]
    for name, part in cold.parts().items():
        np.testing.assert_array_equal(read.parts()[name], part)


def test_an_item_added_after_the_training_is_one_of_them_when_tables_are_refreshed(
    cold: ColdItems, universe: Universe, log: Log, now: int, tmp_path: Path,
    write_bundle: Callable[[Path, Universe], Path],
) -> None:  # fmt: skip
    before = AffinityModel.open(write_bundle(tmp_path, universe.with_cold(cold.with_chance(1.0, -2.0))))
    later = replace(log, words=ItemWords.of(texts() | {110: ItemText("wool sock, grey")}))
    found = refreshed(before, later, now).universe.cold
    assert found is not None
    assert found.chance is not None
    np.testing.assert_array_equal(found.numbers, [101, 102, 110])
    assert found.chance.tolist() == [1.0, -2.0]
    assert kind_of(int(universe.numbers[found.like[2, 0]])) == "wool sock"
    assert as_of_now(None, later.words, universe.numbers, Support.of(later, 100)) is None


def test_a_day_on_which_every_item_was_sold_forgets_no_words(
    cold: ColdItems, universe: Universe, log: Log, tea_drinker: State, now: int, tmp_path: Path,
    write_bundle: Callable[[Path, Universe], Path],
) -> None:  # fmt: skip
    before = AffinityModel.open(write_bundle(tmp_path, universe.with_cold(cold.with_chance(1.0, -2.0))))
    sold = {number: text for number, text in texts().items() if number <= 80}
    refreshed(before, replace(log, words=ItemWords.of(sold)), now).write(
        tmp_path / "sold", datetime(2026, 1, 1, tzinfo=UTC)
    )
    (path,) = (tmp_path / "sold").iterdir()
    none_left = AffinityModel.open(path)
    assert none_left.universe.cold is not None
    assert not len(none_left.universe.cold.numbers)
    assert not len(cold_evidence(history(none_left.universe, tea_drinker, now)).numbers)
    listed = rank(none_left, tea_drinker, as_of=now, allowed=everything(), context=np.empty(0, np.uint32),
                  fallback=Fallback.popular(universe.popular_numbers), first=20)  # fmt: skip
    assert len(listed.numbers) == 20
    found = refreshed(none_left, log, now).universe.cold
    assert found is not None
    for name, part in cold.with_chance(1.0, -2.0).parts().items():
        np.testing.assert_array_equal(found.parts()[name], part)


def test_the_same_title_a_thousand_times_is_bounded_and_the_same_every_time(
    log: Log, universe: Universe, now: int
) -> None:
    many = replace(log, words=ItemWords.of(texts() | {200 + at: ItemText("green tea no 4") for at in range(1_000)}))
    made = []
    for _ in range(2):
        projection = learned_projection(many, universe.numbers, now, 7)
        assert projection is not None
        found = cold_items(projection, words_of(many), universe.numbers, Support.of(many, 100))
        assert found is not None
        made.append(found)
    assert made[0].kin.shape[1] <= 16
    for name, part in made[0].parts().items():
        np.testing.assert_array_equal(part, made[1].parts()[name])


def test_the_chance_is_learned_where_such_items_were_bought(
    log: Log, universe: Universe, make_events: MakeEvents, now: int
) -> None:
    first = np.full(200, 2**62)
    np.minimum.at(first, log.item, log.occurred)
    start = now - 28 * DAY
    late = np.isin(log.item, np.arange(1, 21))  # as if twenty items had been sold in the last weeks alone
    new = log.where(~late | (log.occurred >= start))
    projection = learned_projection(new, universe.numbers, start, 7)
    assert projection is not None
    support = Support.of(new.between(None, start), 100)
    then = cold_items(projection, words_of(new), universe.numbers, support)
    assert then is not None
    fitted = fit_cold_chance(new, universe, then, Window(start, now), people=100, seed=7)
    assert fitted is not None
    assert fitted[0] > 0
    assert fit_cold_chance(log, universe, then, Window(now - 1, now), people=100, seed=7) is None


def test_without_words_nothing_is_learned(make_log: MakeLog, universe: Universe, now: int) -> None:
    assert learned_projection(make_log(), universe.numbers, now, 7) is None
    nameless = replace(make_log(), words=ItemWords.of({number: ItemText() for number in range(1, 90)}))
    assert learned_projection(nameless, universe.numbers, now, 7) is None


def test_items_that_hardly_anybody_bought_are_among_them(log: Log, universe: Universe, now: int) -> None:
    projection = learned_projection(log, universe.numbers, now, 7)
    assert projection is not None
    support = Support.of(log, 60)
    assert len(support.known) == 60
    found = cold_items(projection, words_of(log), np.sort(support.known), support)
    assert found is not None
    np.testing.assert_array_equal(found.numbers, np.sort([*support.outside.tolist(), 101, 102]))
    assert found.kin.shape[0] == 61
    lean = cold_items(projection, words_of(log), np.sort(support.known), support, alternatives=False)
    assert lean is not None
    np.testing.assert_array_equal(lean.kin, found.kin)
    assert lean.like.shape == (len(found.numbers), 0)


def test_the_best_supported_and_the_newest_are_kept_of_too_many() -> None:
    never, bought = np.arange(100_001, 100_001 + 2 * MOST_COLD), np.arange(1, MOST_COLD + 1)
    names = np.concatenate([bought, never]).astype(np.uint32)
    words = ItemWords(
        names, np.arange(len(names) + 1), np.zeros(len(names), np.uint16), np.ones(len(names), np.float32)
    )
    projection = Projection(np.ones(BUCKETS), np.ones((BUCKETS, 1)), np.ones((BUCKETS, 1)))
    none = np.empty(0, np.uint32)
    support = Support(none, bought[::-1].astype(np.uint32))
    found = cold_items(projection, words, none, support)
    assert found is not None
    half = MOST_COLD // 2
    np.testing.assert_array_equal(found.numbers, np.concatenate([bought[-half:], never[-half:]]))
    few = cold_items(projection, words, none, Support(none, bought[:5].astype(np.uint32)))
    assert few is not None
    assert (len(few.numbers), (few.numbers < 100_000).sum()) == (MOST_COLD, 5)
