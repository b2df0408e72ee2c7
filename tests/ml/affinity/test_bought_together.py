"""Items that complete one item: only what orders show."""

from dataclasses import replace

import numpy as np

from ml.affinity.bought_together import bought_together
from ml.masks import Mask, mask_of
from ml.ranked import REASONS
from ml.universe import Universe

EVERYTHING = mask_of(np.arange(1, 81, dtype=np.uint32))


def completed(universe: Universe) -> Universe:
    """Item 50 is completed by 7, 3 and 9, in this order."""
    n = len(universe.numbers)
    rows, scores = np.full((n + 1, 4), n, np.int32), np.zeros((n + 1, 4), np.float32)
    row = universe.rows(np.array([50]))[0]
    rows[row, :3], scores[row, :3] = universe.rows(np.array([7, 3, 9])), [0.5, 0.4, 0.1]
    return replace(universe, together=rows, together_score=scores)


def test_the_list_has_what_completes_the_item_and_nothing_else(universe: Universe) -> None:
    ranked = bought_together(completed(universe), 50, EVERYTHING, 10)
    assert ranked.numbers.tolist() == [7, 3, 9]
    assert {REASONS[code] for code in ranked.reasons} == {"BOUGHT_TOGETHER"}
    assert ranked.because.tolist() == [50, 50, 50]
    assert bought_together(completed(universe), 51, EVERYTHING, 10).numbers.tolist() == []


def test_items_are_filtered_before_they_are_counted(universe: Universe) -> None:
    allowed: Mask = mask_of(np.array([3, 9, 11], np.uint32))
    assert bought_together(completed(universe), 50, allowed, 1).numbers.tolist() == [3]
    assert bought_together(completed(universe), 50, allowed, 5).numbers.tolist() == [3, 9]


def test_nothing_is_known_without_a_model_or_with_one_of_an_earlier_release(universe: Universe) -> None:
    earlier = replace(universe, together=None, together_score=None)
    assert bought_together(None, 50, EVERYTHING, 5).numbers.tolist() == []
    assert bought_together(earlier, 50, EVERYTHING, 5).numbers.tolist() == []
    assert bought_together(completed(universe), 999, EVERYTHING, 5).numbers.tolist() == []
