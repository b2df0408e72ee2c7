"""Items never sold as of a moment: learned from the log, or made again with a projection that is learned already."""

import numpy as np
from numpy.typing import NDArray

from ml.cold_items import ColdItems
from ml.log import Log
from ml.texts.likeness import cold_items
from ml.texts.projection import Projection, learn_projection

LEAST_ITEMS = 20  # bought items with words: with fewer there is nothing to learn from


def learned_projection(log: Log, numbers: NDArray[np.uint32], as_of: int, seed: int) -> Projection | None:
    """A projection of the words of a log's catalogue; None where it has none, or too few of its items were bought."""
    words = log.words
    if words is None:
        return None
    has_words = words.numbers[np.diff(words.starts) > 0]
    sold = np.intersect1d(np.unique(log.between(None, as_of).item), numbers)
    if len(np.intersect1d(has_words, sold)) < LEAST_ITEMS:
        return None
    return learn_projection(log, words, numbers, as_of, seed)


def never_sold(projection: Projection, log: Log, numbers: NDArray[np.uint32], as_of: int) -> ColdItems | None:
    """The items of the catalogue that no line before a second is about, beside a universe of the items `numbers`."""
    if log.words is None:
        return None
    return cold_items(projection, log.words, numbers, np.unique(log.between(None, as_of).item))


def as_of_now(before: ColdItems | None, log: Log, numbers: NDArray[np.uint32], as_of: int) -> ColdItems | None:
    """The same as of a later second: lists are made again, the projection and the calibration stay."""
    if before is None:
        return None
    projection = Projection(before.rarity, before.alike, before.sold)
    found = never_sold(projection, log, numbers, as_of)
    return found if found is None or before.chance is None else found.with_chance(*before.chance.tolist())
