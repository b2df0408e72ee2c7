"""One person's list: candidates, scores, lifts, and a reason for each item.

`view_person` computes what no filter changes: once per person and moment. `score` scores the candidates that one filter
allows: once per filter. `select` cuts a list of any length from them and is cheap to call again.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import ItemEvidence, find_candidates, gather_evidence
from ml.affinity.chances import Chance
from ml.affinity.lifts import Lifts, lifts
from ml.affinity.network import Network, sigmoid
from ml.affinity.pair_features import pair_features
from ml.masks import Mask, is_allowed, without
from ml.ranked import REASON, Explained, Ranked, best_first, explain_as, fill
from ml.rests import resting
from ml.state import State
from ml.universe import DAY, Universe

DUE = 0.9  # an item is due when this share of the usual time between two purchases has passed


@dataclass(frozen=True, eq=False)
class Ranker:
    """The parts of a model that ranking uses."""

    universe: Universe
    network: Network
    chance: Chance | None = field(default=None, kw_only=True)  # None: nothing is calibrated


@dataclass(frozen=True, eq=False)
class PersonView:
    """One person as of a second, seen through a model or without one: everything that no filter changes."""

    ranker: Ranker | None
    state: State
    as_of: int
    resting: NDArray[np.uint32]  # catalogue numbers of items bought too recently to be wanted again
    lifts: Lifts
    evidence: ItemEvidence | None  # None without a model


@dataclass(frozen=True, eq=False)
class Scored:
    """The candidates that a filter allows, with their scores."""

    view: PersonView
    allowed: Mask  # items that may be in the list: the filter without resting items
    popular: NDArray[np.uint32]  # fills the list
    numbers: NDArray[np.uint32]  # (candidates,) catalogue numbers, ascending
    scores: NDArray[np.float32]  # (candidates,)
    lifted_by: NDArray[np.uint32]  # (candidates,) the cause of the item's lift, 0 = not lifted
    order: NDArray[np.intp]  # (candidates,) positions, best first


def view_person(ranker: Ranker | None, state: State, *, as_of: int, context: NDArray[np.uint32]) -> PersonView:
    """One person as of a second, for `score`.

    `context` are catalogue numbers of the items on the page or in the cart: they lift their neighbours (leave them out
    of `allowed` to hide them).
    """
    universe = ranker.universe if ranker else None
    return PersonView(
        ranker,
        state,
        as_of,
        resting(universe, state, as_of),
        lifts(universe, state, as_of, context),
        gather_evidence(universe, state, as_of) if universe else None,
    )


def score(view: PersonView, allowed: Mask, popular: NDArray[np.uint32]) -> Scored:
    """The candidates among the allowed items that do not rest, scored.

    `allowed` is a mask by catalogue number. `popular` (catalogue numbers, best first) fills the list; without a model
    it is the list.
    """
    allowed = without(allowed, view.resting)
    if view.ranker is None or view.evidence is None:
        numbers, scores = _popular_scores(view.lifts, allowed, popular)
    else:
        numbers, scores = _network_scores(view.ranker, view.evidence, view, allowed)
    scores, lifted_by = _lifted(numbers, scores, view.lifts)
    return Scored(view, allowed, popular, numbers, scores, lifted_by, best_first(scores, numbers))


def select(scored: Scored, first: int) -> Ranked:
    """The `first` best items; fewer only when fewer are allowed. A shorter list is the head of a longer one.

    Reasons are computed when they are read. The scores of items that only fill the list depend on its length.
    """
    best = scored.order[:first]
    numbers, scores = fill(scored.numbers[best], scored.scores[best], scored.allowed, scored.popular, first)
    if scored.view.ranker is None:
        return Ranked(numbers, scores, explain_as("POPULAR"))
    ranker = scored.view.ranker
    return Ranked(numbers, scores, partial(_explain, scored, ranker.universe), partial(_chances, scored, ranker.chance))


def rank(
    ranker: Ranker | None,
    state: State,
    *,
    as_of: int,
    allowed: Mask,
    context: NDArray[np.uint32],
    popular: NDArray[np.uint32],
    first: int,
) -> Ranked:
    """The `first` items this person most likely wants next, as of a second: the three steps in one."""
    return select(score(view_person(ranker, state, as_of=as_of, context=context), allowed, popular), first)


def _network_scores(
    ranker: Ranker, evidence: ItemEvidence, view: PersonView, allowed: Mask
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Candidates, ascending, and their probabilities by the network."""
    found = find_candidates(ranker.universe, evidence, allowed, view.lifts.numbers)
    features = pair_features(ranker.universe, view.state, found.numbers, found.near, found.following, view.as_of)
    return found.numbers, sigmoid(ranker.network.logits(features))


def _popular_scores(
    lift: Lifts, allowed: Mask, popular: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Without a model: popular and lifted items, ascending, scored by their place in the popular list."""
    numbers, places = np.unique(np.concatenate([popular, lift.numbers]), return_index=True)
    scores = np.empty(len(numbers), np.float32)
    scores[np.argsort(places)] = 0.1 / (1 + np.arange(len(numbers)))
    kept = is_allowed(numbers, allowed)
    return numbers[kept].astype(np.uint32), scores[kept]


def _lifted(
    numbers: NDArray[np.uint32], scores: NDArray[np.float32], lift: Lifts
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Scores after the lift, as if either reason alone were enough; and the cause of each lift, 0 = not lifted."""
    lifted_by = np.zeros(len(numbers), np.uint32)
    if not len(lift.numbers) or not len(numbers):
        return scores, lifted_by
    place = np.minimum(np.searchsorted(lift.numbers, numbers), len(lift.numbers) - 1)
    hit = lift.numbers[place] == numbers
    weight = np.where(hit, lift.weight[place], np.float32(0))
    lifted_by[hit] = lift.because[place[hit]]
    return 1 - (1 - scores) * (1 - weight), lifted_by


def _chances(scored: Scored, chance: Chance | None, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(k,) the probability of each item; NaN for lifted items, items that fill the list, and people without orders."""
    found = np.full(len(numbers), np.nan, np.float32)
    if chance is None or not scored.view.state.orders or not len(scored.numbers):
        return found
    place = np.minimum(np.searchsorted(scored.numbers, numbers), len(scored.numbers) - 1)
    own = (scored.numbers[place] == numbers) & (scored.lifted_by[place] == 0)
    found[own] = chance.of(scored.scores[place[own]])
    return found


def _explain(scored: Scored, universe: Universe, numbers: NDArray[np.uint32]) -> Explained:
    """Reasons for items of the list: candidates by their evidence, items that fill the list are POPULAR."""
    found = explain_as("POPULAR")(numbers)
    if not len(scored.numbers) or scored.view.evidence is None:
        return found
    place = np.minimum(np.searchsorted(scored.numbers, numbers), len(scored.numbers) - 1)
    known = np.flatnonzero(scored.numbers[place] == numbers)
    lifted_by = scored.lifted_by[place[known]]
    reasons, because = _candidate_reasons(universe, scored.view.evidence, scored.view.as_of, numbers[known], lifted_by)
    found.reasons[known], found.because[known] = reasons, because
    return found


def _candidate_reasons(
    universe: Universe, evidence: ItemEvidence, as_of: int, numbers: NDArray[np.uint32], lifted_by: NDArray[np.uint32]
) -> Explained:
    """Bought before, near to something bought or looked at, or popular; and the item the reason names."""
    code, because = _closest(universe, evidence, numbers)
    because = np.where(lifted_by > 0, lifted_by, because)
    code = np.where(lifted_by > 0, np.uint8(REASON["SIMILAR_TO"]), code)
    bought = evidence.bought
    if len(bought) and len(numbers):
        place = np.minimum(np.searchsorted(bought["item"], numbers), len(bought) - 1)
        own = bought["item"][place] == numbers
        due = _is_due(universe, bought[place], as_of)
        code = np.where(own, np.where(due, REASON["DUE_AGAIN"], REASON["BOUGHT_BEFORE"]), code)
        because = np.where(own, 0, because)
    return Explained(code.astype(np.uint8), because.astype(np.uint32))


def _is_due(universe: Universe, rows: NDArray[Any], as_of: int) -> NDArray[np.bool_]:
    """Whether the usual time between purchases of an item, by the person or by all people, has nearly passed."""
    usual = np.expm1(universe.column("gap")[universe.rows(rows["item"])]) * DAY
    own = (rows["last"] - rows["first"]) / np.maximum(rows["lines"].astype(np.float64) - 1, 1)
    gap = np.where(rows["lines"] > 1, own, usual)
    result: NDArray[np.bool_] = as_of - rows["last"].astype(np.float64) >= DUE * gap
    return result


def _closest(
    universe: Universe, evidence: ItemEvidence, numbers: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """For each item the bought item with the strongest evidence: SIMILAR_TO that one; POPULAR without any."""
    code, because = explain_as("POPULAR")(numbers)
    sources = evidence.sources["item"]
    rows = universe.rows(sources)
    place = np.full(len(universe.numbers) + 1, -1, np.int32)
    place[universe.rows(numbers)] = np.arange(len(numbers))
    place[-1] = -1
    wanted = place[universe.near[rows]]  # (sources, k)
    causes, _ = hits = np.nonzero(wanted >= 0)
    strength = evidence.weights[causes] * universe.near_score[rows][hits]
    order = np.lexsort((sources[causes], -strength))
    targets, firsts = np.unique(wanted[hits][order], return_index=True)
    code[targets] = REASON["SIMILAR_TO"]
    because[targets] = sources[causes[order[firsts]]]
    return code, because
