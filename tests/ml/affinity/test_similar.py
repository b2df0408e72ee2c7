"""Items similar to one item."""

import numpy as np

from ml.affinity.similar import similar
from ml.fallback import Fallback
from ml.masks import mask_of
from ml.ranked import REASONS
from ml.universe import Universe

EVERYTHING = mask_of(np.arange(1, 81, dtype=np.uint32))


def test_similar_items_are_the_nearest_and_never_the_item_itself(universe: Universe) -> None:
    ranked = similar(universe, 50, EVERYTHING, Fallback.popular(universe.popular_numbers), 5)
    row = universe.rows(np.array([50]))[0]
    assert ranked.numbers[0] == universe.numbers[universe.near[row, 0]]
    assert 50 not in ranked.numbers
    assert (ranked.because[ranked.reasons == REASONS.index("SIMILAR_TO")] == 50).all()


def test_items_that_are_not_near_fill_the_list_as_popular_ones(universe: Universe) -> None:
    ranked = similar(universe, 50, EVERYTHING, Fallback.popular(universe.popular_numbers), 79)
    row = universe.rows(np.array([50]))[0]
    near = np.isin(ranked.numbers, universe.numbers[universe.near[row][universe.near_score[row] > 0]])
    np.testing.assert_array_equal(ranked.reasons == REASONS.index("SIMILAR_TO"), near)
    np.testing.assert_array_equal(ranked.reasons == REASONS.index("POPULAR"), ~near)
    assert (ranked.because[~near] == 0).all()


def test_similar_items_are_filtered_before_they_are_counted(universe: Universe) -> None:
    allowed = mask_of(np.arange(1, 9, dtype=np.uint32))
    ranked = similar(universe, 50, allowed, Fallback.popular(universe.popular_numbers), 8)
    assert sorted(ranked.numbers.tolist()) == list(range(1, 9))
