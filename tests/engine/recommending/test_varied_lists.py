"""Placements that want variety: the same items in another order, alone, on a page, over pages and in every kind."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person
from core.turns import OneAtATime
from db.items import upsert_items
from engine.placements.placement import Placement
from engine.placements.settings import ListKind, read_settings
from engine.reasons.texts import ReasonTexts
from engine.recommending.page_slots import PageMaker
from engine.recommending.pages import Page
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import read_rule
from tests.fixtures.gateway import MakeBundle, Serve

IDS = [f"i{at:02}" for at in range(24)]
PEOPLE = [Person("user", "anna"), Person("guest", "g1")]


def placed(**settings: Any) -> Placement:
    return Placement.of("home", 1, read_settings(settings), ReasonTexts.own())


PLAIN, VARIED = placed(), placed(diversity=0.9)


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """24 items in three categories, one after the other in the order in which a stranger gets them."""
    now = clock.now()
    items = [{"id": id, "updated_at": now, "categories": [f"c{at // 8}"]} for at, id in enumerate(IDS)]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


async def page_of(shop: Gateway, placement: Placement, person: Person = PEOPLE[0], **request: Any) -> Page:
    """The first page of a list. It is the same alone and as a slot of a page."""
    wanted = ListRequest(**{"first": 24, **request}, placement=placement)
    turns = OneAtATime(shop.turns, "shop")
    people = PersonLoader(shop.people)
    alone = (await Recommender(shop.catalogue, shop.models, shop.signer, people, turns).for_person(person, wanted)).page
    if wanted.among is None and wanted.after is None:
        maker = PageMaker(shop.catalogue, shop.models, people, turns, shop.models.current)
        (beside,) = await maker.make(person, [wanted], lambda _, found: found.page, distinct=True)
        assert isinstance(beside, Page), beside
        assert (beside.numbers, beside.reasons, beside.scores) == (alone.numbers, alone.reasons, alone.scores)
    return alone


def categories(shop: Gateway, numbers: Sequence[int]) -> list[str]:
    return [item.categories[0] for item in shop.catalogue.items(numbers) if item]


def changes(categories: Sequence[str]) -> int:
    """How often an item is of another category than the one before."""
    return sum(one != other for one, other in pairwise(categories))


async def test_a_varied_list_has_the_same_items_with_other_neighbours(shop: Gateway) -> None:
    for person in PEOPLE:
        plain, varied = await page_of(shop, PLAIN, person), await page_of(shop, VARIED, person)
        assert sorted(plain.numbers) == sorted(varied.numbers)
        assert plain.numbers[0] == varied.numbers[0], "the best item stays first"
        before, after = categories(shop, plain.numbers), categories(shop, varied.numbers)
        assert len(set(after[:3])) == 3
        assert changes(after) > changes(before)
        assert varied.scores == sorted(varied.scores, reverse=True)
        of_plain = dict(zip(plain.numbers, plain.probabilities, strict=True))
        assert [of_plain[number] for number in varied.numbers] == varied.probabilities


async def test_further_pages_go_on_with_the_varied_list(shop: Gateway) -> None:
    for person in PEOPLE:
        whole = await page_of(shop, VARIED, person)
        pages, after = list[int](), None
        while True:
            page = await page_of(shop, VARIED, person, first=5, after=after)
            pages += page.numbers
            if not page.more:
                break
            after = page.cursor(shop.signer, len(page.numbers) - 1)
        assert pages == whole.numbers


@pytest.mark.parametrize("kind", list(ListKind))
async def test_every_kind_and_given_items_are_varied(shop: Gateway, kind: ListKind) -> None:
    for more in ({}, {"among": IDS[::-1]}):
        request: dict[str, Any] = {"asked": kind, "context_items": ["i11"], **more}
        plain, varied = await page_of(shop, PLAIN, **request), await page_of(shop, VARIED, **request)
        assert sorted(plain.numbers) == sorted(varied.numbers)
        reasons = dict(zip(plain.numbers, plain.reasons, strict=True))
        assert [reasons[number] for number in varied.numbers] == varied.reasons


async def test_rules_have_the_last_word(shop: Gateway) -> None:
    documents: list[dict[str, Any]] = [
        {"kind": "PIN", "itemId": "i05", "position": 2},
        {"kind": "SLOTS", "filter": {"categories": ["c2"]}, "count": 2, "of": 4},
        {"kind": "AT_MOST", "count": 4, "per": "CATEGORY"},
        {"kind": "EXCLUDE", "filter": {"ids": ["i00"]}},
    ]
    rules = [Rule.of(f"r{at}", 1, read_rule(document)) for at, document in enumerate(documents)]
    page = await page_of(shop, VARIED, rules=RulesInForce(rules, None), first=8)
    item = shop.catalogue.number_of
    assert page.numbers[1] == item("i05")
    assert item("i00") not in page.numbers
    found = categories(shop, page.numbers)
    assert found[:4].count("c2") >= 2
    assert found[4:].count("c2") >= 2
    assert all(found.count(each) <= 4 for each in ("c0", "c1", "c2"))
