"""One person's list: candidates, scores, lifts, and a reason for each item.

`view_person` computes what no filter changes: once per person and moment. `score` scores the candidates that one filter
allows: once per filter. `select` cuts a list of any length from them and is cheap to call again.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import MOST_OWN, ItemEvidence, find_candidates, gather_evidence
from ml.affinity.chances import Chance
from ml.affinity.cold_candidates import cause_of, with_cold_scores
from ml.affinity.dislikes import Dislikes, dislikes, without_items
from ml.affinity.exploring import Exploration, mixed_in
from ml.affinity.lifts import NONE, Kin, Lifts, lifts
from ml.affinity.network import Network, sigmoid
from ml.affinity.pair_features import pairs_of
from ml.affinity.pair_scores import PairNetwork, pair_logits
from ml.affinity.sources import History
from ml.affinity.variety import Variety
from ml.carts import in_cart
from ml.fallback import Fallback, fill
from ml.masks import Mask, is_allowed, without
from ml.ranked import LONGEST_EVERY, REASON, Explain, Explained, Ranked, not_calibrated
from ml.rests import resting
from ml.returns import is_in
from ml.state import State
from ml.ties import mixed
from ml.universe import DAY, Universe

DUE = 0.9  # an item is due when this share of the usual time between two purchases has passed
TURN = 0.05  # items with a greater lift take turns with the others: no purchase lifts so much
_TWO = np.float32(2).view(np.uint32)
_OUTSIDE = np.uint64(2**32)  # above every place and hash
HEAD = 100  # items of the fallback that take turns with lifted ones when there is no model


@dataclass(frozen=True, eq=False)
class Ranker:
    """The parts of a model that ranking uses."""

    universe: Universe
    network: Network
    chance: Chance | None = field(default=None, kw_only=True)  # None: nothing is calibrated

    @cached_property
    def pair_network(self) -> PairNetwork:
        """The network, ready for pairs of one person."""
        return PairNetwork.of(self.network)


@dataclass(frozen=True, eq=False)
class PersonView:
    """One person as of a second, seen through a model or without one: everything that no filter changes."""

    ranker: Ranker | None
    state: State
    as_of: int
    left_out: NDArray[np.uint32]  # catalogue numbers: bought too recently to be wanted again, in the cart, or disliked
    lifts: Lifts
    evidence: ItemEvidence | None  # None without a model
    dislikes: Dislikes


@dataclass(frozen=True, eq=False)
class Scored:
    """The candidates that a filter allows, with their scores."""

    view: PersonView
    allowed: Mask  # items that may be in the list: the filter without what is left out
    nameable: Mask | None  # items that a reason may name; None: any
    fallback: Fallback  # fills the list; without a model it is the list
    numbers: NDArray[np.uint32]  # (candidates,) catalogue numbers, ascending
    own: NDArray[np.float32]  # (candidates,) what the ranker says; NaN where a dislike lowers it
    scores: NDArray[np.float32]  # (candidates,)
    order: NDArray[np.intp]  # (candidates,) positions, best first
    explain: Explain | None = None  # the reasons of a list of another kind; None: as what the person does says
    variety: Variety | None = None  # another order of the best of them; None: as `order` says
    exploration: Exploration | None = None  # the places that are given by chance


def view_person(
    ranker: Ranker | None,
    state: State,
    *,
    as_of: int,
    context: NDArray[np.uint32],
    viewed: NDArray[np.uint32] = NONE,
    kin: Kin | None = None,
    kept: ItemEvidence | None = None,
    session: int = 0,
) -> PersonView:
    """One person as of a second, for `score`.

    `context` are catalogue numbers of the items on the page or in the cart: they lift their neighbours (leave them out
    of `allowed` to hide them). `viewed` are those just looked at that no event reports yet: they lift theirs, too.
    `kin` gives the neighbours of items that the model does not know. `kept` is evidence of the person from before.
    `session` is the hash of the one that runs, if the page names it.
    """
    universe = ranker.universe if ranker else None
    against = dislikes(universe, state)
    state = without_items(state, against.hidden)
    return PersonView(
        ranker,
        state,
        as_of,
        np.concatenate([resting(universe, state, as_of), in_cart(state, as_of), against.hidden]),
        lifts(universe, state, as_of, context, viewed, kin),
        gather_evidence(universe, state, as_of, kept, session) if universe else None,
        against,
    )


def leaving_out(view: PersonView, later: State) -> PersonView:
    """The same view, which also leaves out what a later state of the person does: nothing else of it changes."""
    universe = view.ranker.universe if view.ranker else None
    more = [resting(universe, later, view.as_of), in_cart(later, view.as_of), later.disliked]
    against = replace(view.dislikes, hidden=np.union1d(view.dislikes.hidden, later.disliked))
    return replace(view, left_out=np.concatenate([view.left_out, *more]), dislikes=against)


def score(
    view: PersonView,
    allowed: Mask,
    fallback: Fallback,
    nameable: Mask | None = None,
    *,
    most_own: int | None = MOST_OWN,
    also: NDArray[np.uint32] = NONE,
) -> Scored:
    """The candidates among the allowed items that the person's view does not leave out, scored.

    Masks are by catalogue number. A reason names only nameable items: not those that nobody should see. `most_own` is
    that of `find_candidates`. `also` are candidates that nothing of the person names.
    """
    allowed = without(allowed, view.left_out)
    if view.ranker is not None and view.evidence is not None:
        numbers, own = _network_scores(view.ranker, view.evidence, view, allowed, most_own, also)
    else:
        numbers, own = fallback_scores(view.lifts, allowed, fallback)
    return apply_lifts(view, allowed, behind_own_items(view, fallback), nameable, numbers, own)


def behind_own_items(view: PersonView, fallback: Fallback) -> Fallback:
    """What fills the list of somebody who bought more items than a list ranks: first the others of these."""
    if view.evidence is None or len(view.evidence.own.items) <= MOST_OWN:
        return fallback
    return replace(fallback, order=(view.evidence.own.most_bought, *fallback.order))


def apply_lifts(
    view: PersonView,
    allowed: Mask,
    fallback: Fallback,
    nameable: Mask | None,
    numbers: NDArray[np.uint32],
    own: NDArray[np.float32],
) -> Scored:
    """Candidates (ascending) that the ranker has scored, with the view's lifts and dislikes."""
    lowered = view.dislikes.lower(numbers, own)
    scores, order = _lifted(view.ranker.universe if view.ranker else None, numbers, lowered, view.lifts)
    own = np.where(lowered == own, own, np.float32(np.nan))
    return Scored(view, allowed, nameable, fallback, numbers, own, scores, order)


def select(scored: Scored, first: int) -> Ranked:
    """The `first` best items; fewer only when fewer are allowed. A shorter list is the head of a longer one.

    Reasons are computed when they are read. The scores of items that only fill the list depend on its length.
    """
    best, kept = scored.order[:first], scored.scores
    if scored.variety is not None:
        best = scored.variety.best(scored.order, scored.numbers, kept, first)
    falling = kept[best] if scored.variety is None else np.minimum.accumulate(kept[best])
    numbers, scores = fill(scored.numbers[best], falling, scored.allowed, scored.fallback, first)
    explain = scored.explain or partial(_explain, scored.view, scored.nameable, scored.fallback)
    ranker = scored.view.ranker
    chances = not_calibrated if ranker is None else partial(_chances, scored, ranker.chance)
    ranked = Ranked(numbers, scores, explain, chances)
    if scored.exploration is None:
        return ranked
    return mixed_in(ranked, scored.exploration.picks(scored.allowed, scored.numbers[scored.order], first), first)


def rank(
    ranker: Ranker | None,
    state: State,
    *,
    as_of: int,
    allowed: Mask,
    context: NDArray[np.uint32],
    fallback: Fallback,
    first: int,
) -> Ranked:
    """The `first` items this person most likely wants next, as of a second: the three steps in one."""
    return select(score(view_person(ranker, state, as_of=as_of, context=context), allowed, fallback), first)


def _network_scores(
    ranker: Ranker,
    evidence: ItemEvidence,
    view: PersonView,
    allowed: Mask,
    most_own: int | None,
    also: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Candidates, ascending, and their probabilities by the network."""
    numbers = find_candidates(evidence, allowed, np.concatenate([view.lifts.numbers, also]), most_own)
    scores = sigmoid(pair_logits(ranker.pair_network, pairs_of(evidence, numbers)))
    return numbers, with_cold_scores(ranker.universe.cold, evidence.cold, numbers, scores)


def fallback_scores(lift: Lifts, allowed: Mask, fallback: Fallback) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Without a model: if anything is lifted, that and the head of the fallback, ascending; else nothing."""
    lifted = lift.numbers[is_allowed(lift.numbers, allowed)]
    if not len(lifted):
        return NONE, np.empty(0, np.float32)
    numbers, scores = fill(NONE, np.empty(0, np.float32), allowed, fallback, HEAD)
    lifted = lifted[~np.isin(lifted, numbers)]
    numbers = np.concatenate([numbers, lifted])
    scores = np.concatenate([scores, np.zeros(len(lifted), np.float32)])
    ascending = np.argsort(numbers)
    return numbers[ascending], scores[ascending]


def _lifted(
    universe: Universe | None, numbers: NDArray[np.uint32], own: NDArray[np.float32], lift: Lifts
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Scores after the lift, and positions best first.

    A lifted score is as if either reason alone were enough. Much lifted items take turns with what the person likes.
    """
    if not len(lift.numbers) or not len(numbers):
        return own, _best_first(universe, numbers, own)
    place = np.minimum(np.searchsorted(lift.numbers, numbers), len(lift.numbers) - 1)
    weight = np.where(lift.numbers[place] == numbers, lift.weight[place], np.float32(0))
    scores = 1 - (1 - own) * (1 - weight)
    much = weight > TURN
    if not much.any():
        return scores, _best_first(universe, numbers, scores)
    order = _in_turn(_best_first(universe, numbers, scores + much), _best_first(universe, numbers, own))
    scores[order] = np.minimum.accumulate(scores[order])
    return scores, order


def _best_first(
    universe: Universe | None, numbers: NDArray[np.uint32], scores: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Positions by falling score from 2 to 0; of equal scores the most popular item first, then by a hash.

    Equal scores are usual: of what a person bought once in one order, and the universe does not have.
    """
    ties = mixed(numbers) + _OUTSIDE if universe is None else _places(universe, numbers)
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)  # of floats that are not negative they rise, too
    order: NDArray[np.intp] = np.argsort(((_TWO - bits).astype(np.uint64) << np.uint64(33)) | ties)
    return order


def _places(universe: Universe, numbers: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The place of each item by popularity; behind all others, by a hash, those outside the universe."""
    rows = universe.rows(numbers)
    places = universe.places.take(rows)
    outside = np.flatnonzero(rows == len(universe.numbers))
    places[outside] = mixed(numbers[outside]) + _OUTSIDE
    return places


def _in_turn(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """Two orders of the same positions as one that takes from both in turn, from `one` first."""
    turn = np.empty(len(one), np.intp)
    turn[other] = 2 * np.arange(len(other)) + 1
    turn[one] = np.minimum(turn[one], 2 * np.arange(len(one)))
    return np.argsort(turn)


def _chances(scored: Scored, chance: Chance | None, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(k,) the probability of each item; NaN for one that is lifted, lowered or fills the list, and without orders."""
    found = np.full(len(numbers), np.nan, np.float32)
    if chance is None or not scored.view.state.orders or not len(scored.numbers):
        return found
    place = np.minimum(np.searchsorted(scored.numbers, numbers), len(scored.numbers) - 1)
    own = (scored.numbers[place] == numbers) & ~is_in(numbers, scored.view.lifts.numbers)
    found[own] = chance.of(scored.own[place[own]])
    return found


def _explain(view: PersonView, nameable: Mask | None, fallback: Fallback, numbers: NDArray[np.uint32]) -> Explained:
    """The reason for each item.

    The first that holds: bought before; near to what was looked at; near to what was bought; the fallback's claim.
    """
    reasons, because, every = fallback.explain(numbers)
    universe, bought = view.ranker.universe if view.ranker else None, view.state.bought
    items = np.ascontiguousarray(bought["item"])
    place = np.minimum(items.searchsorted(numbers), max(len(items) - 1, 0))
    own = items.take(place) == numbers if len(items) else np.zeros(len(numbers), np.bool_)
    others = np.flatnonzero(~own)
    if len(others):
        some, cause, reason = numbers[others], because[others], reasons[others]
        if universe is not None and view.evidence is not None:
            near, cause[near], reason[near] = _closest(universe, view.evidence.history, some, nameable)
            near, cause[near], reason[near] = _like_bought(view.evidence.history, some, nameable)
        near, cause[near], reason[near] = _lifted_by(view.lifts, some, nameable)
        because[others], reasons[others] = cause, reason
    if len(others) < len(numbers):
        reasons[own], because[own], every[own] = explain_own(universe, bought.take(place[own]), view.as_of)
    return Explained(reasons, because, every)


def explain_own(universe: Universe | None, rows: NDArray[Any], as_of: int) -> Explained:
    """The reasons for items that the person bought, of which these are the rows of the state."""
    gaps = own_gaps(rows)
    due = is_due(universe, gaps, rows, as_of)
    reasons = np.where(due, np.uint8(REASON["DUE_AGAIN"]), np.uint8(REASON["BOUGHT_BEFORE"]))
    every = np.where(due & np.isfinite(gaps), np.clip(np.rint(gaps / DAY), 0, LONGEST_EVERY), 0).astype(np.uint16)
    return Explained(reasons, np.zeros(len(rows), np.uint32), every)


def own_gaps(rows: NDArray[Any]) -> NDArray[np.float64]:
    """(rows,) seconds between two purchases of each item by the person; infinite for an item bought at one time."""
    gaps = (rows["last"] - rows["first"]) / np.maximum(rows["lines"].astype(np.float64) - 1, 1)
    return np.where(rows["last"] > rows["first"], gaps, np.inf)


def is_due(universe: Universe | None, gaps: NDArray[np.float64], rows: NDArray[Any], as_of: int) -> NDArray[np.bool_]:
    """Whether the usual time between two purchases of each item has nearly passed.

    It is the person's own if they bought the item at two times; else that of all people, if those buy items of its
    category again, as far as a model knows.
    """
    quiet = as_of - rows["last"].astype(np.float64)
    due: NDArray[np.bool_] = quiet >= DUE * gaps
    if universe is None:
        return due
    at = universe.rows(rows["item"])
    usual = np.expm1(universe.column("gap")[at]) * DAY
    return due | (np.isinf(gaps) & universe.are_rebought(at) & (quiet >= DUE * usual))


_Caused = tuple[NDArray[np.intp], NDArray[np.uint32], Any]  # positions of items, the cause of each, the reason


def _lifted_by(lift: Lifts, numbers: NDArray[np.uint32], nameable: Mask | None) -> _Caused:
    """Which items are lifted, by what."""
    if not len(lift.numbers):
        return np.empty(0, np.intp), NONE, 0
    place = np.minimum(np.searchsorted(lift.numbers, numbers), len(lift.numbers) - 1)
    hit = lift.numbers[place] == numbers
    if nameable is not None:
        hit &= is_allowed(lift.because[place], nameable)
    return np.flatnonzero(hit), lift.because[place[hit]], lift.reasons[place[hit]]


def _like_bought(history: History, numbers: NDArray[np.uint32], nameable: Mask | None) -> _Caused:
    """Which items that nobody bought are like bought ones, and which of these most."""
    cold = history.universe.cold
    if cold is None:
        return np.empty(0, np.intp), NONE, 0
    asked = np.flatnonzero(is_in(numbers, cold.numbers))
    found = [(at, cause) for at in asked.tolist() if (cause := cause_of(history, int(numbers[at]), nameable))]
    because = np.array([cause for _, cause in found], np.uint32)
    return np.array([at for at, _ in found], np.intp), because, REASON["SIMILAR_TO"]


def _closest(universe: Universe, history: History, numbers: NDArray[np.uint32], nameable: Mask | None) -> _Caused:
    """Which items are near to bought ones, and the bought item with the strongest evidence for each."""
    place = np.full(len(universe.numbers) + 1, -1, np.int32)
    place[universe.rows(numbers)] = np.arange(len(numbers), dtype=np.int32)
    place[-1] = -1
    wanted = place.take(history.near_lists).ravel()  # (sources x k,)
    hits = np.flatnonzero(wanted >= 0)
    sources = history.items["item"][hits // max(history.near_lists.shape[1], 1)]
    if nameable is not None:
        kept = is_allowed(sources, nameable)
        hits, sources = hits[kept], sources[kept]
    targets, closeness = wanted[hits], history.closeness.ravel()[hits]
    best = np.zeros(len(numbers))
    np.maximum.at(best, targets, closeness)
    strongest = closeness == best[targets]
    because = np.full(len(numbers), np.iinfo(np.uint32).max, np.uint32)
    np.minimum.at(because, targets[strongest], sources[strongest])
    near = np.flatnonzero(best > 0)
    return near, because[near], REASON["SIMILAR_TO"]
