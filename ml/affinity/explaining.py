"""Why one item is where it is in a person's list: what each source says of it, and what its score is made of.

Everything is read from the view and the candidates that the list itself is made from.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import FOLLOWING, NEAREST, POPULAR
from ml.affinity.contributions import contributions
from ml.affinity.pair_features import pair_features
from ml.affinity.ranking import PersonView, Scored
from ml.masks import Mask, is_allowed
from ml.ranked import REASONS

MOST_CAUSES = 3  # bought items that one item is near to


class SourceSays(NamedTuple):
    """What one source of candidates says of an item."""

    source: str  # OWN_PURCHASES, SIMILAR_ITEMS, NEXT_ITEMS, POPULAR or JUST_SEEN
    names: bool  # whether it names the item as a candidate
    value: float | None  # its evidence: purchases, closeness, rules or people, as log1p of their sum; or the lift
    place: int | None  # from 1, among the allowed items of the source; None where it knows nothing of the item
    takes: int | None  # how many of the first ones it names; None: all
    because: tuple[int, ...]  # catalogue numbers of the items that the evidence comes from


class ScoreParts(NamedTuple):
    """What the score of an item is made of."""

    logit: float  # of the network
    median_logit: float  # of the pair whose features are each the median of all candidates of the list
    contributions: Mapping[str, float]  # by group of features: they add up to logit - median_logit
    lift: float  # what the items just looked at or on the page add: 1 - (1 - score) * (1 - lift); 0 without one
    lowering: float  # factor by which a disliked neighbour lowers the score; 1 without one


def sources_of(scored: Scored, number: int) -> list[SourceSays]:
    """What each source says of an item, by catalogue number. Without a model only lifts name candidates."""
    view, allowed = scored.view, scored.allowed
    found = [_lifted(view, number)]
    if view.ranker is None or view.evidence is None:
        return found
    universe, evidence = view.ranker.universe, view.evidence
    row = int(universe.rows(np.array([number]))[0])
    known = row < len(universe.numbers)
    at = np.flatnonzero(evidence.bought["item"] == number)
    own = float(np.log1p(evidence.bought["lines"][at[0]])) if len(at) else None
    near_place = _place(universe.numbers, evidence.near, evidence.near_rows, allowed, row) if known else None
    next_place = _place(universe.numbers, evidence.following, evidence.following_rows, allowed, row) if known else None
    popular = universe.popular_numbers
    popular = popular[is_allowed(popular, allowed)]
    place = np.flatnonzero(popular == number)
    popular_place = int(place[0]) + 1 if len(place) else None
    people = float(universe.column("people")[row]) if known else None
    return [
        SourceSays("OWN_PURCHASES", own is not None, own, None, None, ()),
        _ranked("SIMILAR_ITEMS", evidence.near, row, near_place, NEAREST, _causes(view, row)),
        _ranked("NEXT_ITEMS", evidence.following, row, next_place, FOLLOWING, ()),
        SourceSays("POPULAR", popular_place is not None and popular_place <= POPULAR, people, popular_place, POPULAR, ()),
        *found,
    ]


def score_parts(scored: Scored, number: int) -> ScoreParts | None:
    """What the score of an item is made of; None without a model, without candidates, or for an item it cannot score.

    It also says so of an item that is no candidate: as if it were one.
    """
    view = scored.view
    if view.ranker is None or view.evidence is None or not len(scored.numbers):
        return None
    network = view.ranker.network
    item = _features(view, np.array([number], np.uint32))[0]
    median = np.median(_features(view, scored.numbers), axis=0).astype(np.float32)
    logit, other = (float(one) for one in network.logits(np.stack([item, median])))
    lowered = view.dislikes.lower(np.array([number], np.uint32), np.ones(1, np.float32))
    lift = _lifted(view, number).value
    return ScoreParts(logit, other, contributions(network, item, median), lift or 0.0, float(lowered[0]))


def lift_reason(view: PersonView, number: int) -> str | None:
    """The reason that a lift gives for an item; None without one."""
    at = np.flatnonzero(view.lifts.numbers == number)
    return REASONS[int(view.lifts.reasons[at[0]])] if len(at) else None


def _features(view: PersonView, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(items, FEATURES) of the person with these items, ascending."""
    assert view.ranker is not None
    assert view.evidence is not None
    universe, evidence = view.ranker.universe, view.evidence
    rows = universe.rows(numbers)
    return pair_features(universe, view.state, numbers, evidence.near[rows], evidence.following[rows], view.as_of)


def _place(
    numbers: NDArray[np.uint32], scores: NDArray[np.float32], rows: NDArray[np.intp], allowed: Mask, row: int
) -> int | None:
    """The place of a row, from 1, among the allowed rows of a source; None where its score is 0."""
    if not scores[row] > 0:
        return None
    others = rows[is_allowed(numbers[rows], allowed)]
    return int((scores[others] > scores[row]).sum()) + 1


def _ranked(
    source: str, scores: NDArray[np.float32], row: int, place: int | None, takes: int, because: tuple[int, ...]
) -> SourceSays:
    value = float(scores[row]) if place is not None else None
    return SourceSays(source, place is not None and place <= takes, value, place, takes, because)


def _causes(view: PersonView, row: int) -> tuple[int, ...]:
    """The bought items that an item is nearest to, the nearest first."""
    evidence = view.evidence
    assert evidence is not None
    sources, columns = np.nonzero(evidence.near_lists == row)
    nearest = np.argsort(-evidence.closeness[sources, columns], kind="stable")[:MOST_CAUSES]
    return tuple(evidence.sources["item"][sources[nearest]].tolist())


def _lifted(view: PersonView, number: int) -> SourceSays:
    at = np.flatnonzero(view.lifts.numbers == number)
    if not len(at):
        return SourceSays("JUST_SEEN", False, None, None, None, ())
    return SourceSays(
        "JUST_SEEN", True, float(view.lifts.weight[at[0]]), None, None, (int(view.lifts.because[at[0]]),)
    )
