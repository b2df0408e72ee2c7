"""Evidence that is kept gives the list that fresh evidence gives, whatever happened since; a purchase ends it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract import EventType
from ml.affinity.candidates import find_candidates, gather_evidence, to_keep
from ml.affinity.own_features import BY_PERSON
from ml.affinity.pair_features import FEATURES, pair_features
from ml.affinity.sources import HEAD, SOURCES
from ml.log import Log
from ml.masks import mask_of
from ml.snapshot import best_supported, snapshot
from ml.state import CODE, EVENT, PURCHASE, RETURN, State, Table, fold
from ml.universe import Universe

ITEMS = 400  # 300 of them in the universe
DAY = 86_400
NONE = np.empty(0, np.uint32)


@pytest.fixture(scope="module")
def shop(make_log: Callable[..., Log], now: int) -> Universe:
    log = make_log(people=120, items=ITEMS, orders=12)
    return snapshot(log, best_supported(log, 300), now)


def some_events(random: np.random.Generator, now: int, most: int, types: list[int]) -> Table:
    events = np.zeros(int(random.integers(0, most)), EVENT)
    events["identity"] = random.integers(1, 2**60, len(events))
    events["item"] = random.integers(0, ITEMS + 20, len(events))
    events["type"] = random.choice(types, len(events))
    events["occurred"] = now - (10 ** random.uniform(1, 7, len(events))).astype(np.int64)
    events["cents"], events["quantity"] = 100, 1
    return events


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), later=st.sampled_from([0, 1, 3_600, 90 * 86_400]), buys=st.booleans())
def test_kept_evidence_is_that_of_the_later_state(shop: Universe, now: int, seed: int, later: int, buys: bool) -> None:
    random = np.random.default_rng(seed)
    every = list(range(RETURN + 3))
    before = fold(State.empty(), some_events(random, now, 200, [PURCHASE, PURCHASE, *every]))
    since = some_events(random, now + later, 6, every if buys else [kind for kind in every if kind != PURCHASE])
    state, as_of = fold(before, since), now + later
    kept = to_keep(gather_evidence(shop, before, now))
    found, fresh = gather_evidence(shop, state, as_of, kept), gather_evidence(shop, state, as_of)
    if not len(since):
        assert found.first is kept
    allowed = mask_of(shop.numbers)
    numbers = find_candidates(fresh, allowed, NONE)
    assert find_candidates(found, allowed, NONE).tolist() == numbers.tolist()
    np.testing.assert_allclose(pair_features(found, numbers), pair_features(fresh, numbers), rtol=2e-5, atol=2e-6)


def test_looking_at_items_leaves_the_evidence_and_buying_one_does_not(
    shop: Universe, make_events: Callable[..., Table], now: int
) -> None:
    before = fold(State.empty(), make_events(5, 6, 7, at=now - 9 * DAY))
    kept = to_keep(gather_evidence(shop, before, now))
    looked = fold(before, make_events(8, at=now, type=CODE[EventType.VIEW]))
    assert gather_evidence(shop, looked, now + 5, kept).first is kept
    bought = fold(before, make_events(8, at=now))
    assert gather_evidence(shop, bought, now + 5, kept).first is None
    assert gather_evidence(shop, before, now - 5, kept).first is None, "it is of a later second"
    assert 0 < kept.nbytes < 100_000


def test_time_changes_what_a_person_bought_and_no_order_of_a_source(
    shop: Universe, make_events: Callable[..., Table], now: int
) -> None:
    state = fold(State.empty(), make_events(5, 6, 7, 8, 9, at=now - 9 * DAY))
    first = gather_evidence(shop, state, now)
    later = gather_evidence(shop, state, now + 42 * DAY, to_keep(first))
    for name, said in later.said.items():
        assert said.best.tolist() == first.said[name].best.tolist()
        assert len(said.best) == min(len(said.rows), HEAD * SOURCES[name].most)
        assert (np.diff(said.scores[np.searchsorted(said.rows, said.best)]) <= 0).all()
    one, other = (pair_features(each, np.array([5], np.uint32))[0] for each in (first, later))
    moved = {name for at, name in enumerate(FEATURES) if one[at] != other[at]} & set(BY_PERSON)
    assert moved == {
        *("decayed", "decayed_fast", "decayed_slow", "recency", "due", "age", "lateness", "overdue"),
    }
