"""Another order of the best items of a list, where its placement says so."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.catalogue.catalogue import Catalogue
from engine.placements.placement import Placement
from ml.affinity.boosting import with_candidates
from ml.affinity.ranking import Scored
from ml.affinity.variety import Variety


def varies(placement: Placement | None) -> bool:
    """Whether the lists of a placement have another order than that of the scores."""
    return placement is not None and placement.diversity > 0


def vary(catalogue: Catalogue, placement: Placement | None, scored: Scored, seen: Sequence[int] = ()) -> Scored:
    """The list with the variety that its placement wants; `seen` are the items of the pages before."""
    if placement is None or not varies(placement):
        return scored
    universe = scored.view.ranker.universe if scored.view.ranker else None
    shown = np.array([number for number in seen if number < catalogue.size], np.uint32)
    variety = Variety(placement.diversity, universe, (catalogue.categories, catalogue.brands), shown)
    return replace(with_candidates(scored), variety=variety)
