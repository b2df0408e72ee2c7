"""The items like one that no model knows: those of its category."""

import numpy as np
from numpy.typing import NDArray

from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from ml.fallback import Fallback, fill
from ml.masks import Mask
from ml.ranked import REASON, Explained, Ranked


def same_category(catalogue: Catalogue, item: Item, fallback: Fallback, allowed: Mask, first: int) -> Ranked:
    """Items of the item's last category in the order of the fallback; then items of any category."""
    inside = allowed & catalogue.mask(Filter(categories=item.categories[-1:]))
    numbers, scores = fill(np.empty(0, np.uint32), np.empty(0, np.float32), inside, fallback, first)
    numbers, scores = fill(numbers, scores, allowed, fallback, first)

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        found, same = fallback.explain(numbers), inside[numbers]
        found.reasons[same], found.because[same] = REASON["SIMILAR_TO"], item.number
        return found

    return Ranked(numbers, scores, explain)
