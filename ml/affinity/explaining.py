"""Why one item is where it is in a person's list: what each source says of it, and what its score is made of.

Everything is read from the view and the candidates that the list itself is made from.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from ml.affinity.candidates import MOST_OWN, POPULAR, ItemEvidence
from ml.affinity.cold_candidates import MOST as MOST_NEVER_SOLD
from ml.affinity.cold_candidates import cause_of
from ml.affinity.contributions import FeatureGroup, contributions
from ml.affinity.pair_features import pair_features
from ml.affinity.ranking import PersonView, Scored
from ml.affinity.sources import SOURCES, History, Said
from ml.masks import Mask, is_allowed
from ml.universe import Universe

MOST_CAUSES = 3  # bought items that one item is near to


class CandidateSource(StrEnum):
    """What names candidates."""

    OWN_PURCHASES = "OWN_PURCHASES"
    SIMILAR_ITEMS = "SIMILAR_ITEMS"
    NEXT_ITEMS = "NEXT_ITEMS"
    LINEAR_MODEL = "LINEAR_MODEL"
    SEQUENCE = "SEQUENCE"
    POPULAR = "POPULAR"
    SEEN = "SEEN"
    NEAR_SEEN = "NEAR_SEEN"
    JUST_SEEN = "JUST_SEEN"
    FALLBACK = "FALLBACK"
    OTHER = "OTHER"


_BY_NAME = {  # of SOURCES
    "near": CandidateSource.SIMILAR_ITEMS,
    "next": CandidateSource.NEXT_ITEMS,
    "ease": CandidateSource.LINEAR_MODEL,
    "sequence": CandidateSource.SEQUENCE,
    "seen": CandidateSource.SEEN,
    "near_seen": CandidateSource.NEAR_SEEN,
}


class SourceSays(NamedTuple):
    """What one source of candidates says of an item."""

    source: CandidateSource
    names: bool  # whether it names the item as a candidate
    value: float | None  # its evidence: purchases, closeness, rules or people, as log1p of their sum; or the lift
    place: int | None  # from 1, among the allowed items of the source; None where it knows nothing of the item
    takes: int | None  # how many of the first ones it names; None: all
    because: tuple[int, ...]  # catalogue numbers of the items that the evidence comes from


class ScoreParts(NamedTuple):
    """What the score of an item is made of."""

    logit: float  # of the network
    median_logit: float  # of the pair whose features are each the median of all candidates of the list
    contributions: Mapping[FeatureGroup, float]  # by group of features: they add up to logit - median_logit
    lift: float  # what the items just looked at or on the page add: 1 - (1 - score) * (1 - lift); 0 without one
    lowering: float  # factor by which a disliked neighbour lowers the score; 1 without one


def sources_of(scored: Scored, number: int) -> list[SourceSays]:
    """What each source says of an item, by catalogue number. Without a model only lifts name candidates."""
    view, allowed = scored.view, scored.allowed
    found = [_lifted(view, number)]
    if view.ranker is None or view.evidence is None:
        return found
    universe, history = view.ranker.universe, view.evidence.history
    bought, row = history.state.bought, int(universe.rows(np.array([number]))[0])
    at = np.flatnonzero(bought["item"] == number)
    own = float(np.log1p(bought["lines"][at[0]])) if len(at) else None
    known = row < len(universe.numbers)
    return [
        _own(view.evidence, allowed, number, own),
        *(
            _said(name, universe, said, allowed, row, _causes(history, row) if name == "near" else ())
            for name, said in view.evidence.said.items()
            if SOURCES[name].most  # others are evidence of candidates, but name none
        ),
        *_never_sold(view.evidence, allowed, number),
        _popular(universe, allowed, number, float(universe.column("people")[row]) if known else None),
        *found,
    ]


def score_parts(scored: Scored, number: int) -> ScoreParts | None:
    """What the score of an item is made of; None without a model, without candidates, or for an item it cannot score.

    It also says so of an item that is no candidate: as if it were one.
    """
    view = scored.view
    if view.ranker is None or view.evidence is None or not len(scored.numbers):
        return None
    if view.ranker.universe.cold is not None and view.ranker.universe.cold.row(number) is not None:
        return None  # no network scores it
    network = view.ranker.network
    item = pair_features(view.evidence, np.array([number], np.uint32))[0]
    median = np.median(pair_features(view.evidence, scored.numbers), axis=0).astype(np.float32)
    logit, other = (float(one) for one in network.logits(np.stack([item, median])))
    lowered = view.dislikes.lower(np.array([number], np.uint32), np.ones(1, np.float32))
    lift = _lifted(view, number).value
    return ScoreParts(logit, other, contributions(network, item, median), lift or 0.0, float(lowered[0]))


def _own(evidence: ItemEvidence, allowed: Mask, number: int, purchases: float | None) -> SourceSays:
    """What the person's own purchases say of an item; `purchases` is None for one that the person did not buy."""
    items, source = evidence.own.most_bought, CandidateSource.OWN_PURCHASES
    if purchases is None or len(items) <= MOST_OWN:
        return SourceSays(source, purchases is not None, purchases, None, None, ())
    place = int(is_allowed(items[: int(np.flatnonzero(items == number)[0])], allowed).sum()) + 1
    return SourceSays(source, place <= MOST_OWN, purchases, place, MOST_OWN, ())


def _said(name: str, universe: Universe, said: Said, allowed: Mask, row: int, because: tuple[int, ...]) -> SourceSays:
    """What one of SOURCES says of a row."""
    source, most = _BY_NAME.get(name, CandidateSource.OTHER), SOURCES[name].most
    score = float(said.of(np.array([row], np.int32))[0])
    if not score > 0:
        return SourceSays(source, False, None, None, most, ())
    others = said.scores[is_allowed(universe.numbers[said.rows], allowed)]
    place = int((others > score).sum()) + 1
    return SourceSays(source, place <= most, score, place, most, because)


def _never_sold(evidence: ItemEvidence, allowed: Mask, number: int) -> list[SourceSays]:
    """What the words of an item that nobody bought say, as evidence of OTHER; nothing of any other item."""
    cold = evidence.history.universe.cold
    if cold is None or cold.chance is None or cold.row(number) is None:
        return []
    numbers, sums = evidence.cold
    at = np.flatnonzero(numbers == number)
    if not len(at):
        return [SourceSays(CandidateSource.OTHER, False, None, None, MOST_NEVER_SOLD, ())]
    place = int((sums[is_allowed(numbers, allowed)] > sums[at[0]]).sum()) + 1
    because = cause_of(evidence.history, number, None)
    value = float(np.log1p(sums[at[0]]))
    return [
        SourceSays(
            CandidateSource.OTHER,
            place <= MOST_NEVER_SOLD,
            value,
            place,
            MOST_NEVER_SOLD,
            (because,) if because else (),
        )
    ]


def _popular(universe: Universe, allowed: Mask, number: int, people: float | None) -> SourceSays:
    numbers = universe.popular_numbers
    at = np.flatnonzero(numbers == number)
    if not len(at):
        return SourceSays(CandidateSource.POPULAR, False, people, None, POPULAR, ())
    place = int(is_allowed(numbers[: at[0]], allowed).sum()) + 1
    return SourceSays(CandidateSource.POPULAR, place <= POPULAR, people, place, POPULAR, ())


def _causes(history: History, row: int) -> tuple[int, ...]:
    """The bought items that an item is nearest to, the nearest first."""
    if row >= len(history.universe.numbers):
        return ()
    items, columns = np.nonzero(history.near_lists == row)
    nearest = np.argsort(-history.closeness[items, columns], kind="stable")[:MOST_CAUSES]
    return tuple(history.items["item"][items[nearest]].tolist())


def _lifted(view: PersonView, number: int) -> SourceSays:
    at = np.flatnonzero(view.lifts.numbers == number)
    if not len(at):
        return SourceSays(CandidateSource.JUST_SEEN, False, None, None, None, ())
    return SourceSays(
        CandidateSource.JUST_SEEN, True, float(view.lifts.weight[at[0]]), None, None, (int(view.lifts.because[at[0]]),)
    )
