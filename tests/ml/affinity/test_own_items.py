"""A list ranks the items that the person bought most; the others come behind all that is ranked."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.affinity.affinities import item_weights
from ml.affinity.candidates import MOST_OWN, find_candidates, gather_evidence
from ml.affinity.explaining import CandidateSource, sources_of
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.affinity.ranking import Ranker, score, select, view_person
from ml.affinity.several_lists import WantedList, score_together
from ml.fallback import Fallback
from ml.log import Log
from ml.masks import mask_of
from ml.snapshot import best_supported, snapshot
from ml.state import State, Table, fold
from ml.universe import DAY, Universe

ITEMS, OWN = 700, 400
NONE = np.empty(0, np.uint32)
EVERYTHING = mask_of(np.arange(1, ITEMS + 1, dtype=np.uint32))


@pytest.fixture(scope="module")
def universe(make_log: Callable[..., Log], now: int) -> Universe:
    """Of items that the person below did not buy, so that no source names one of theirs."""
    log = make_log(people=40, items=ITEMS, orders=12)
    return snapshot(log, best_supported(log, ITEMS)[-(ITEMS - OWN) :], now)


@pytest.fixture(scope="module")
def own(universe: Universe) -> np.ndarray:
    """The person's items, the oldest purchase first."""
    return np.setdiff1d(np.arange(1, ITEMS + 1, dtype=np.uint32), universe.numbers)[:OWN]


@pytest.fixture(scope="module")
def state(make_events: Callable[..., Table], own: np.ndarray, now: int) -> State:
    """Bought each item once, one a day, the last one a month ago."""
    return fold(State.empty(), make_events(*own.tolist(), at=int(now - 30 * DAY), apart=int(DAY)))


@pytest.fixture(scope="module")
def ranker(universe: Universe) -> Ranker:
    """Prefers what was bought lately."""
    weights = np.array(FEATURES.ordered(dict.fromkeys(FEATURES, 0.0) | {"decayed_slow": 1.0}), np.float32)[:, None]
    return Ranker(universe, Network((weights,), (np.zeros(1, np.float32),)))


def test_those_bought_most_are_ranked(ranker: Ranker, state: State, own: np.ndarray, now: int) -> None:
    evidence = gather_evidence(ranker.universe, state, now)
    found = find_candidates(evidence, EVERYTHING, NONE, MOST_OWN)
    assert np.intersect1d(found, own).tolist() == np.sort(own[-MOST_OWN:]).tolist()
    assert np.isin(own, find_candidates(evidence, EVERYTHING, NONE)).all(), "training sees all"


def test_a_filter_is_applied_before_they_are_cut_off(ranker: Ranker, state: State, own: np.ndarray, now: int) -> None:
    allowed = mask_of(own[: MOST_OWN + 10])
    found = find_candidates(gather_evidence(ranker.universe, state, now), allowed, NONE, MOST_OWN)
    assert found.tolist() == np.sort(own[10 : MOST_OWN + 10]).tolist()


def test_the_others_come_behind_all_that_is_ranked(ranker: Ranker, state: State, own: np.ndarray, now: int) -> None:
    view, fallback = view_person(ranker, state, as_of=now, context=NONE), Fallback.popular(ranker.universe.numbers)
    scored = score(view, EVERYTHING, fallback)
    listed = select(scored, len(scored.numbers) + 50)
    assert set(listed.numbers[:MOST_OWN].tolist()) == set(own[-MOST_OWN:].tolist())
    assert listed.numbers[len(scored.numbers) :].tolist() == own[:-MOST_OWN][::-1][:50].tolist()
    assert (np.diff(listed.scores) <= 0).all()
    (together,) = score_together([WantedList(view, EVERYTHING, fallback)])
    assert select(together, len(listed.numbers)).numbers.tolist() == listed.numbers.tolist()


def test_an_explanation_says_the_place_among_them(ranker: Ranker, state: State, own: np.ndarray, now: int) -> None:
    scored = score(view_person(ranker, state, as_of=now, context=NONE), EVERYTHING, Fallback.popular(NONE))
    for place in (1, MOST_OWN, MOST_OWN + 1, OWN):
        says = sources_of(scored, int(own[-place]))[0]
        assert says.source is CandidateSource.OWN_PURCHASES
        assert (says.place, says.takes, says.names) == (place, MOST_OWN, place <= MOST_OWN)
        assert says.names == (own[-place] in scored.numbers)


def test_scores_of_all_of_them_can_be_asked_for(ranker: Ranker, state: State, own: np.ndarray, now: int) -> None:
    view = view_person(ranker, state, as_of=now, context=NONE)
    scored = score(view, EVERYTHING, Fallback.popular(NONE), most_own=None)
    assert np.isin(own, scored.numbers).all()
    assert len(item_weights(scored, state, now).numbers) == OWN
