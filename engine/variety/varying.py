"""Another order of the best items of a list, and places by chance, where its placement says so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.catalogue.catalogue import Catalogue
from engine.placements.placement import Placement
from ml.affinity.boosting import with_candidates
from ml.affinity.exploring import Exploration
from ml.affinity.ranking import Scored
from ml.affinity.variety import Variety


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is in its list."""

    seen: Sequence[int] = ()  # the items of the pages before
    exploration: Exploration | None = None  # None: no place is given by chance


def varies(placement: Placement | None) -> bool:
    """Whether the lists of a placement have another order than that of the scores."""
    return placement is not None and placement.diversity > 0


def vary(catalogue: Catalogue, placement: Placement | None, scored: Scored, place: Place) -> Scored:
    """The list with the variety that its placement wants, and the places by chance."""
    exploration = place.exploration
    if exploration is not None:
        scored = replace(with_candidates(scored), exploration=exploration)
    if placement is None or not varies(placement):
        return scored
    universe = scored.view.ranker.universe if scored.view.ranker else None
    ranked = place.seen if exploration is None else exploration.ranked.tolist()
    shown = np.array([number for number in ranked if number < catalogue.size], np.uint32)
    variety = Variety(placement.diversity, universe, (catalogue.categories, catalogue.brands), shown)
    return replace(with_candidates(scored), variety=variety)
