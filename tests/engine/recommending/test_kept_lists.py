"""Lists that are kept: what a new count of popular items changes of them."""

from collections.abc import Hashable
from typing import Any, cast
from weakref import ref

import numpy as np
import pytest

from core.contract import Person
from engine.catalogue.catalogue import Catalogue
from engine.recommending.kept_lists import KeptLists
from engine.recommending.pages import Page, new_pin
from engine.recommending.recommendations import ListRequest
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import read_rule
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


async def test_a_kept_list_is_found_with_equal_rules_and_does_not_hold_what_they_do() -> None:
    catalogue, page = Catalogue(cast(Any, None), 60), page_of(["DUE_AGAIN", "SIMILAR_TO"], True)
    lists = KeptLists(catalogue)
    one, other = (Rule.of("a", 1, read_rule({"kind": "EXCLUDE", "filter": {"ids": ["i1"]}})) for _ in range(2))

    async def key(rules: RulesInForce) -> tuple[Person, Hashable]:
        await rules.ready(catalogue)
        return KEY[0], ListRequest(4, rules=rules).all_parts

    rules = RulesInForce([one], "DE", RulesInForce([other], "DE"))
    lists.keep(await key(rules), catalogue, None, None, [page])
    held = ref(rules)
    del rules
    assert held() is None
    equal = RulesInForce([one], "DE", RulesInForce([other], "DE"))
    assert lists.find(await key(equal), catalogue, None, None) == [page]
    for odd in (
        RulesInForce([other], "DE", RulesInForce([other], "DE")),
        RulesInForce([one], "DE", RulesInForce([one], "DE")),
        RulesInForce([one], "FR", RulesInForce([other], "DE")),
        RulesInForce([one, other], "DE"),
        RulesInForce([one], "DE"),
    ):
        assert lists.find(await key(odd), catalogue, None, None) is None


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
