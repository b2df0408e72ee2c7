"""Another order of the best items of a list, and places by chance, where its placement says so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.catalogue.catalogue import Catalogue
from engine.placements.placement import Placement
from engine.placements.settings import OWN
from ml.affinity.boosting import with_candidates
from ml.affinity.exploring import Exploration
from ml.affinity.ranking import PersonView, Scored
from ml.affinity.repeats import repeat_share
from ml.affinity.variety import Variety


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is in its list."""

    seen: Sequence[int] = ()  # the items of the pages before
    exploration: Exploration | None = None  # None: no place is given by chance
    ranked: bool = True  # whether the list is by what the person wants next: then own items may have a share


def varies(placement: Placement | None) -> bool:
    """Whether the lists of a placement have another order than that of the scores."""
    return placement is not None and (placement.diversity > 0 or placement.repeat_share is not None)


def vary(catalogue: Catalogue, placement: Placement | None, scored: Scored, place: Place) -> Scored:
    """The list with the variety that its placement wants, and the places by chance."""
    exploration = place.exploration
    if exploration is not None:
        scored = replace(with_candidates(scored), exploration=exploration)
    if placement is None:
        return scored
    view, share = scored.view, _share_of_own(placement, scored.view) if place.ranked else None
    if share is None and not placement.diversity:
        return scored
    ranked = place.seen if exploration is None else exploration.ranked.tolist()
    variety = Variety(
        placement.diversity,
        view.ranker.universe if view.ranker else None,
        (catalogue.categories, catalogue.brands),
        np.array([number for number in ranked if number < catalogue.size], np.uint32),
        np.ascontiguousarray(view.state.bought["item"]),
        share,
    )
    return replace(with_candidates(scored), variety=variety)


def _share_of_own(placement: Placement, view: PersonView) -> float | None:
    """The share of a list that is for items which the person bought before; None: as the scores say."""
    share = placement.repeat_share
    if share is None or not len(view.state.bought):
        return None
    return repeat_share(view.ranker.universe if view.ranker else None, view.state) if share == OWN else float(share)
