"""Several lists of one person: the network runs once over the candidates of all, and each list takes its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.candidates import MOST_OWN, find_candidates
from ml.affinity.cold_candidates import with_cold_scores
from ml.affinity.lifts import NONE, Kin, lifts
from ml.affinity.network import sigmoid
from ml.affinity.pair_features import pairs_of
from ml.affinity.pair_scores import pair_logits
from ml.affinity.ranking import PersonView, Scored, apply_lifts, behind_own_items, score
from ml.fallback import Fallback
from ml.masks import Mask, is_allowed, without


class WantedList(NamedTuple):
    """One list: who looks at what, and which items it may have. As the arguments of `ranking.score`."""

    view: PersonView
    allowed: Mask
    fallback: Fallback
    nameable: Mask | None = None
    also: NDArray[np.uint32] = NONE


def looking_at(
    view: PersonView, context: NDArray[np.uint32], viewed: NDArray[np.uint32] = NONE, kin: Kin | None = None
) -> PersonView:
    """The same person as of the same second on another page; the arguments are those of `view_person`."""
    universe = view.ranker.universe if view.ranker else None
    return replace(view, lifts=lifts(universe, view.state, view.as_of, context, viewed, kin))


def score_together(wanted: Sequence[WantedList]) -> list[Scored]:
    """What `ranking.score` returns for each list, up to float rounding, after one run of the network.

    The views are of one person as of one second: `looking_at` makes them of each other.
    """
    view = wanted[0].view if wanted else None
    if view is None or view.ranker is None or view.evidence is None:
        return [score(*one[:4], also=one.also) for one in wanted]
    evidence = view.evidence
    masks = [without(one.allowed, one.view.left_out) for one in wanted]
    found = [
        find_candidates(evidence, mask, np.concatenate([one.view.lifts.numbers, one.also]), MOST_OWN)
        for one, mask in zip(wanted, masks, strict=True)
    ]
    numbers = np.unique(np.concatenate(found))
    own = score_pairs(view, numbers)
    return [
        apply_lifts(
            one.view,
            mask,
            behind_own_items(one.view, one.fallback),
            one.nameable,
            each,
            own[np.searchsorted(numbers, each)],
        )
        for one, mask, each in zip(wanted, masks, found, strict=True)
    ]


def score_pairs(view: PersonView, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(items,) what the network says of the person with these items, ascending by catalogue number."""
    ranker, evidence = view.ranker, view.evidence
    assert ranker is not None
    assert evidence is not None
    scores = sigmoid(pair_logits(ranker.pair_network, pairs_of(evidence, numbers)))
    return with_cold_scores(ranker.universe.cold, evidence.cold, numbers, scores)


def narrow(scored: Scored, allowed: Mask) -> Scored:
    """The same list with those of its items alone that are allowed; nothing is scored again."""
    size = min(len(allowed), len(scored.allowed))
    allowed = allowed[:size] & scored.allowed[:size]
    kept = is_allowed(scored.numbers, allowed)
    if kept.all():
        return replace(scored, allowed=allowed)
    place = np.cumsum(kept) - 1  # among those that are kept
    return replace(
        scored,
        allowed=allowed,
        numbers=scored.numbers[kept],
        own=scored.own[kept],
        scores=scored.scores[kept],
        order=place[scored.order[kept[scored.order]]],
    )


def within(scored: Scored, allowed: Mask) -> Scored:
    """The list with those of its items alone that are allowed; the list itself if these are all."""
    size = min(len(scored.allowed), len(allowed))
    if not (scored.allowed[:size] & ~allowed[:size]).any():
        return scored
    return narrow(scored, allowed)
