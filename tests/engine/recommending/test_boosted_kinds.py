"""Boosts of rules in lists of kinds that have items of their own and are filled: all pages are parts of one list."""

import pytest

from api.gateway import Gateway
from core.contract import Person
from engine.placements.settings import ListKind
from engine.recommending.recommendations import ListRequest
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import RuleKind, read_rule
from tests.engine.recommending.test_list_kinds import PEOPLE, STRANGER, recommender, shop

__all__ = ["shop"]


@pytest.mark.parametrize("rule", [RuleKind.BOOST, RuleKind.BURY])
@pytest.mark.parametrize("kind", [ListKind.RECENTLY_VIEWED, ListKind.BUY_AGAIN, ListKind.POPULAR])
async def test_what_fills_a_list_has_one_order_on_all_pages(shop: Gateway, kind: ListKind, rule: RuleKind) -> None:
    says = read_rule({"kind": rule, "factor": 50, "filter": {"categories": ["odd"]}})
    rules = RulesInForce([Rule.of("odd", 1, says)], None)

    async def pages(person: Person, first: int) -> list[int]:
        found, after, more = list[int](), None, True
        while more:
            request = ListRequest(first, after, asked=kind, rules=rules)
            page = (await recommender(shop).for_person(person, request)).page
            found += page.numbers
            more, after = page.more, page.cursor(shop.signer, first - 1)
        return found

    for person in [*PEOPLE, STRANGER]:
        assert await pages(person, 5) == await pages(person, 24)
