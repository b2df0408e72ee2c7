"""Scoring once and selecting often gives the lists of a plain one-shot ranking, for any person, filter and length."""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.affinity.candidates import find_candidates, gather_evidence
from ml.affinity.lifts import lifts
from ml.affinity.network import Network, sigmoid
from ml.affinity.pair_features import FEATURES, pairs_of
from ml.affinity.pair_scores import pair_logits
from ml.affinity.ranking import DUE, TURN, Ranker, rank, score, select, view_person
from ml.affinity.sources import LAST_ORDERS, SOURCES, history
from ml.carts import in_cart
from ml.fallback import Fallback
from ml.log import Log
from ml.ranked import REASONS
from ml.rests import resting
from ml.snapshot import best_supported, snapshot
from ml.state import EVENT, PURCHASE, RETURN, State, Table, fold
from ml.ties import mixed
from ml.universe import DAY, Universe

ITEMS = 400  # 300 of them in the universe
NONE = np.empty(0, np.uint32)
Entry = tuple[int, float, str, int]  # number, score, reason, because


@pytest.fixture(scope="module")
def ranker(make_log: Callable[..., Log], now: int) -> Ranker:
    """A ranker with random weights."""
    log = make_log(people=120, items=ITEMS, orders=12)
    universe = snapshot(log, best_supported(log, 300), now)
    universe.rows(universe.numbers)
    random = np.random.default_rng(4)
    kernels = random.normal(0, 0.2, (len(FEATURES), 8)), random.normal(0, 0.5, (8, 1))
    hidden, out = (kernel.astype(np.float32) for kernel in kernels)
    return Ranker(universe, Network((hidden, out), (np.zeros(8, np.float32), np.zeros(1, np.float32))))


def some_state(random: np.random.Generator, now: int) -> State:
    """Between 0 and 60 events of all types, also about unknown items, of the last hours to months."""
    events = np.zeros(int(random.integers(0, 60)), EVENT)
    events["identity"] = np.arange(1, len(events) + 1)
    events["item"] = random.integers(0, ITEMS + 20, len(events))
    events["type"] = np.where(random.random(len(events)) < 0.6, PURCHASE, random.integers(0, RETURN + 1, len(events)))
    events["occurred"] = now - (10 ** random.uniform(1, 7, len(events))).astype(np.int64)
    events["cents"], events["quantity"] = 100, 1
    return fold(State.empty(), events)


def some_mask(random: np.random.Generator) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = random.random(int(random.integers(1, ITEMS + 30))) < random.choice([0, 0.01, 0.1, 0.5, 1])
    mask[0] = False
    return mask


def plain_ranking(
    ranker: Ranker | None,
    state: State,
    now: int,
    allowed: NDArray[np.bool_],
    context: Table,
    popular: Table,
    first: int,
) -> list[Entry]:
    """The list in plain Python: candidates sorted by score, then popular ones, then any other."""
    universe = ranker.universe if ranker else None
    left_out = {*resting(universe, state, now).tolist(), *in_cart(state, now).tolist()}
    free = set(np.flatnonzero(allowed).tolist()) - left_out
    mask = np.isin(np.arange(len(allowed)), list(free))
    lifted = lifts(universe, state, now, context)
    own: dict[int, np.float32] = {}
    if ranker is not None:
        evidence = gather_evidence(ranker.universe, state, now)
        found = find_candidates(evidence, mask, lifted.numbers)
        logits = pair_logits(ranker.pair_network, pairs_of(evidence, found))
        own = dict(zip(found.tolist(), sigmoid(logits), strict=True))
    lift = dict(zip(lifted.numbers.tolist(), lifted.weight, strict=True))
    causes = dict(
        zip(lifted.numbers.tolist(), zip(lifted.reasons.tolist(), lifted.because.tolist(), strict=True), strict=True)
    )
    # 1 - (1 - score) rounds, so an item without a lift is lifted by 0
    scores = own
    if lift:
        scores = {number: 1 - (1 - s) * (1 - lift.get(number, np.float32(0))) for number, s in own.items()}
    near = {number for number in scores if lift.get(number, 0) > TURN}
    places = {number: place for place, number in enumerate(universe.popular_numbers.tolist())} if universe else {}

    def tie(number: int) -> tuple[int, int]:
        return places.get(number, len(places)), int(mixed(np.array([number]))[0])

    chosen = sorted(scores, key=lambda number: (-(scores[number] + np.float32(number in near)), *tie(number)))
    if near:
        chosen = in_turn(chosen, sorted(own, key=lambda number: (-own[number], *tie(number))))
    chosen = chosen[:first]
    falling = np.minimum.accumulate([scores[number] for number in chosen]) if chosen else np.empty(0, np.float32)
    left = (number for number in [*popular.tolist(), *sorted(free)] if number in free and number not in chosen)
    more = list(islice(dict.fromkeys(left), first - len(chosen)))
    least = falling[-1] if chosen else np.float32(0.01)
    steps = np.linspace(1, 0, len(more) + 2, dtype=np.float32)[1:-1]
    scored = [*zip(chosen, falling.tolist(), strict=True), *zip(more, (least * steps).tolist(), strict=True)]
    claims = dict.fromkeys(popular.tolist(), "POPULAR")
    return [
        (number, score, *reason_for(ranker, state, now, number, causes.get(number), claims.get(number, "OTHER")))
        for number, score in scored
    ]


def in_turn(one: list[int], other: list[int]) -> list[int]:
    """Taken from both in turn: the place of an item is the better of its two places."""
    return sorted(one, key=lambda number: min(2 * one.index(number), 2 * other.index(number) + 1))


def reason_for(
    ranker: Ranker | None, state: State, now: int, number: int, lifted: tuple[int, int] | None, claim: str
) -> tuple[str, int]:
    universe = ranker.universe if ranker else None
    own = state.bought[state.bought["item"] == number]
    if len(own):
        return ("DUE_AGAIN" if is_due(universe, state, own[0], now) else "BOUGHT_BEFORE"), 0
    if lifted:
        return REASONS[lifted[0]], lifted[1]
    if universe is None:
        return claim, 0
    row = int(universe.rows(np.array([number]))[0])
    known = history(universe, state, now)
    strongest = (0.0, 0)
    for source, weight in zip(known.items["item"].tolist(), known.weights, strict=True):
        source_row = int(universe.rows(np.array([source]))[0])
        for place in np.flatnonzero((universe.near[source_row] == row) & (universe.near_score[source_row] > 0)):
            strongest = max(strongest, (float(weight * universe.near_score[source_row, place]), -source))
    return ("SIMILAR_TO", -strongest[1]) if strongest[1] else (claim, 0)


def is_due(universe: Universe | None, state: State, own: np.void, now: int) -> bool:
    if own["last"] > own["first"]:
        times = max(min(int(own["lines"]), state.orders), 2)
        gap = (int(own["last"]) - int(own["first"])) / (times - 1)
    elif universe is None:
        return False
    elif universe.are_rebought(universe.rows(own["item"][None]))[0]:
        row = int(universe.rows(own["item"]))
        gap = float(np.expm1(universe.column("gap")[row]) * DAY)
    else:
        return False
    return bool(now - int(own["last"]) >= DUE * gap)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), first=st.sampled_from([1, 3, 20, 150]), with_model=st.booleans())
def test_a_selection_equals_a_plain_ranking(ranker: Ranker, now: int, seed: int, first: int, with_model: bool) -> None:
    random = np.random.default_rng(seed)
    state, allowed = some_state(random, now), some_mask(random)
    context = random.integers(1, ITEMS + 20, int(random.integers(0, 3))).astype(np.uint32)
    popular = random.permutation(np.arange(1, ITEMS, dtype=np.uint32))[: int(random.integers(0, ITEMS))]
    used = ranker if with_model else None
    ranked = rank(
        used, state, as_of=now, allowed=allowed, context=context, fallback=Fallback.popular(popular), first=first
    )
    expected = plain_ranking(used, state, now, allowed, context, popular, first)
    assert ranked.numbers.tolist() == [entry[0] for entry in expected]
    np.testing.assert_array_equal(ranked.scores, np.array([entry[1] for entry in expected], np.float32))
    assert [REASONS[code] for code in ranked.reasons] == [entry[2] for entry in expected]
    assert ranked.because.tolist() == [entry[3] for entry in expected]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), first=st.integers(1, 100), with_model=st.booleans())
def test_a_shorter_selection_is_the_head_of_a_longer_one(
    ranker: Ranker, now: int, seed: int, first: int, with_model: bool
) -> None:
    random = np.random.default_rng(seed)
    allowed = some_mask(random)
    view = view_person(ranker if with_model else None, some_state(random, now), as_of=now, context=NONE)
    scored = score(view, allowed, Fallback.popular(ranker.universe.popular_numbers))
    short, long = select(scored, first), select(scored, 4 * first)
    free = np.setdiff1d(np.flatnonzero(allowed), view.left_out)
    assert len(short.numbers) == min(first, len(free))
    assert np.isin(long.numbers, free).all()
    for name in ("numbers", "reasons", "because"):
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:first])
    candidates = min(first, len(scored.numbers))
    np.testing.assert_array_equal(short.scores[:candidates], long.scores[:candidates])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_reasons_of_items_taken_from_a_list_are_those_of_the_whole_list(ranker: Ranker, now: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    view = view_person(ranker, some_state(random, now), as_of=now, context=NONE)
    fallback = Fallback.popular(ranker.universe.popular_numbers)
    whole = select(score(view, some_mask(random), fallback), 300)
    positions = np.flatnonzero(random.random(len(whole.numbers)) < 0.1)
    taken = whole.take(positions)
    np.testing.assert_array_equal(taken.numbers, whole.numbers[positions])
    np.testing.assert_array_equal(taken.reasons, whole.reasons[positions])
    np.testing.assert_array_equal(taken.because, whole.because[positions])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_filter_is_applied_before_the_sources_of_candidates_are_cut_off(ranker: Ranker, now: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    universe, allowed = ranker.universe, some_mask(random)
    evidence = gather_evidence(universe, some_state(random, now), now)
    found = find_candidates(evidence, allowed, NONE)
    free = universe.numbers[np.isin(universe.numbers, np.flatnonzero(allowed))]
    rows = universe.rows(free)
    assert np.isin(found, np.flatnonzero(allowed)).all()
    for name, said in evidence.said.items():
        if not SOURCES[name].most:
            continue
        scores = said.of(rows)
        left_out = scores[~np.isin(free, found)].max(initial=0)
        assert left_out == 0 or (scores >= left_out).sum() > SOURCES[name].most


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_evidence_of_an_item_is_the_logarithm_of_what_all_sources_say(ranker: Ranker, now: int, seed: int) -> None:
    universe, state = ranker.universe, some_state(np.random.default_rng(seed), now)
    assert universe.ease is not None
    assert universe.ease_score is not None
    assert universe.then is not None
    assert universe.then_score is not None
    evidence = gather_evidence(universe, state, now)
    near, following, ease, then = np.zeros((4, len(universe.near)))
    for source, weight in zip(evidence.history.items, evidence.history.weights, strict=True):
        row = int(universe.rows(source["item"].reshape(1))[0])
        np.add.at(near, universe.near[row], universe.near_score[row] * weight)
        since = int((state.recent_orders["occurred"] > source["last"]).sum())
        if since < LAST_ORDERS:
            np.add.at(following, universe.next[row], universe.next_score[row] / (1 + since))
        np.add.at(ease, universe.ease[row], universe.ease_score[row] * np.log1p(source["lines"]))
        if since == 0:
            np.add.at(then, universe.then[row], universe.then_score[row])
    for name, expected in (("near", near), ("next", following), ("ease", ease), ("then", then)):
        expected[-1] = 0
        said = evidence.said[name]
        scores = said.of(np.arange(len(expected), dtype=np.int32))
        np.testing.assert_allclose(scores, np.log1p(expected), rtol=1e-6)
        assert said.rows.tolist() == np.flatnonzero(scores).tolist()
        assert said.largest == said.scores.max(initial=0)
