"""Which items that nobody bought, or hardly anybody, are like which bought ones, by the vectors of their texts."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.cold_items import ColdItems
from ml.log import Log
from ml.nearest import BLOCK
from ml.snapshot import by_support
from ml.texts.projection import Projection
from ml.words import ItemWords

MOST_COLD = 20_000  # half of them at least, where there are so many, for items that were bought
KIN, LIKE = 16, 16  # lengths of the lists
SHARPNESS = 4  # power of the cosine: one item that is very like counts more than many that are a little
LEAST = 0.2  # cosine

Floats = NDArray[np.float32]


class Support(NamedTuple):
    """The items that anybody bought before a second."""

    known: NDArray[np.uint32]  # catalogue numbers of those that a model ranks
    outside: NDArray[np.uint32]  # of the others, the best supported first

    @classmethod
    def of(cls, log: Log, most: int) -> Self:
        """Of the lines of a log: a model ranks at most `most` items."""
        found = by_support(log.kept)
        return cls(found[:most], found[most:])


def cold_items(
    projection: Projection,
    words: ItemWords,
    numbers: NDArray[np.uint32],
    support: Support,
    *,
    alternatives: bool = True,
) -> ColdItems:
    """The items with words that are not supported well enough, against the items `numbers` (ascending) of a universe.

    Bought ones go by their support, the others by their catalogue number, newest first. There may be none yet: the
    projection is kept for those of tomorrow. Without `alternatives` no cold item has a list of what is like it: they
    cost half of the time.
    """
    cold = _chosen(words.numbers[np.diff(words.starts) > 0], support)
    vectors = projection.vectors(words)
    theirs = vectors[np.searchsorted(words.numbers, cold)]
    known = np.flatnonzero(np.isin(numbers, np.setdiff1d(words.numbers, cold)))
    ours = np.zeros((len(numbers), vectors.shape[1]), np.float32)
    ours[known] = vectors[np.searchsorted(words.numbers, numbers[known])]
    kin, kin_score = _most_like(ours, theirs, KIN)
    like, like_score = _most_like(theirs, ours, LIKE if alternatives else 0)
    return ColdItems(
        cold,
        np.concatenate([kin, np.full((1, kin.shape[1]), len(cold), np.int32)]),
        np.concatenate([kin_score**SHARPNESS, np.zeros((1, kin.shape[1]), np.float32)]),
        like,
        like_score,
        projection.rarity,
        projection.alike,
        projection.sold,
    )


def _chosen(with_words: NDArray[np.uint32], support: Support) -> NDArray[np.uint32]:
    """At most MOST_COLD of the items with words (ascending), ascending."""
    bought = support.outside[np.isin(support.outside, with_words)]
    never = np.setdiff1d(with_words, np.concatenate([support.known, support.outside]))
    bought = bought[: max(MOST_COLD // 2, MOST_COLD - len(never))]
    return np.sort(np.concatenate([bought, never[max(len(never) + len(bought) - MOST_COLD, 0) :]]))


def _most_like(ones: Floats, others: Floats, most: int) -> tuple[NDArray[np.int32], Floats]:
    """(ones, most) each: rows of the others with the largest cosines, best first, and these; padded with len(others).

    Of equal cosines the first rows are kept, so that a text that many items share names the same ones on any machine.
    """
    most = min(most, len(others))
    if not most:
        return np.empty((len(ones), 0), np.int32), np.empty((len(ones), 0), np.float32)
    rows, cosines = np.full((len(ones), most), len(others), np.int32), np.zeros((len(ones), most), np.float32)
    for start in range(0, len(ones), BLOCK):
        block = np.round(ones[start : start + BLOCK] @ others.T, 5)  # equal texts are equally like
        for row, found in enumerate(block, start):
            best = _largest(found, most)
            kept = best[found[best] >= LEAST]
            rows[row, : len(kept)], cosines[row, : len(kept)] = kept, found[kept]
    return rows, cosines


def _largest(values: Floats, most: int) -> NDArray[np.intp]:
    """Positions of the largest values, best first; of equals the first."""
    if most < len(values):
        least = np.partition(values, len(values) - most)[len(values) - most]
        above = np.flatnonzero(values > least)
        equal = np.flatnonzero(values == least)[: most - len(above)]
        found = np.concatenate([above, equal])
    else:
        found = np.arange(len(values))
    return found[np.lexsort((found, -values[found]))]
