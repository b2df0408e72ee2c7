"""Lists that are kept: what a new count of popular items changes of them."""

from typing import Any, cast

import numpy as np
import pytest

from core.contract import Person
from engine.catalogue.catalogue import Catalogue
from engine.recommending.kept_lists import KeptLists
from engine.recommending.pages import Page, new_pin
from ml.fallback import Fallback
from ml.ranked import REASON

KEY = Person("user", "anna"), "home"


@pytest.mark.parametrize(
    ("reasons", "more", "kept"),
    [
        (["DUE_AGAIN", "SIMILAR_TO"], True, True),
        (["DUE_AGAIN", "POPULAR"], True, False),
        (["DUE_AGAIN", "OTHER"], True, False),
        (["DUE_AGAIN", "SIMILAR_TO"], False, False),
        ([], False, False),
    ],
)
async def test_a_new_count_of_what_is_popular_counts_in_the_lists_that_it_fills(
    reasons: list[str], more: bool, kept: bool
) -> None:
    catalogue, page = Catalogue(cast(Any, None), 60), page_of(reasons, more)
    one, other = (Fallback.popular(np.array([number], np.uint32)) for number in (1, 2))
    lists = KeptLists(catalogue)
    lists.keep(KEY, catalogue, None, one, [page])
    assert lists.find(KEY, catalogue, None, one) == [page]
    assert (lists.find(KEY, catalogue, None, other) is not None) == kept
    lists.keep(KEY, catalogue, None, other, [page])
    assert lists.find(KEY, catalogue, None, other) == [page]


def page_of(reasons: list[str], more: bool) -> Page:
    """A page of as many items as reasons."""
    size = len(reasons)
    return Page(
        "list",
        new_pin(None),
        numbers=[1] * size,
        scores=[1.0] * size,
        probabilities=[None] * size,
        reasons=[REASON[name] for name in reasons],
        because=[0] * size,
        explored=[],
        every=[0] * size,
        more=more,
    )
