"""The projection of the words of a catalogue, learned from the log, and cold items made again with one."""

import numpy as np
from numpy.typing import NDArray

from ml.cold_items import ColdItems
from ml.log import Log
from ml.texts.likeness import Support, cold_items
from ml.texts.projection import Projection, learn_projection
from ml.words import ItemWords

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


def as_of_now(
    before: ColdItems | None,
    words: ItemWords | None,
    numbers: NDArray[np.uint32],
    support: Support,
    *,
    alternatives: bool = True,
) -> ColdItems | None:
    """The same beside another universe: lists are made again, the projection and the calibration stay."""
    if before is None or words is None:
        return None
    projection = Projection(before.rarity, before.alike, before.sold)
    found = cold_items(projection, words, numbers, support, alternatives=alternatives)
    return found if before.chance is None else found.with_chance(*before.chance.tolist())
