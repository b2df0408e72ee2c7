"""Placements that want variety: the same items in another order, alone, on a page, over pages and in every kind."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from core.texts import LONGEST_TEXT
from core.turns import OneAtATime
from db.events import insert_events
from db.items import upsert_items
from engine.catalogue.filters import Filter
from engine.impressions import UnknownImpression, new_impression, read_impression
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
from engine.variety.explorables import draw_of
from ml.affinity.explorable import DRAWS
from ml.ranked import REASON
from tests.fixtures.gateway import MakeBundle, Serve

IDS = [f"i{at:02}" for at in range(24)]
EXPLORATION = REASON["EXPLORATION"]
NOW = int(clock.now().timestamp())
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
        assert (beside.numbers, beside.reasons, beside.explored) == (alone.numbers, alone.reasons, alone.explored)
        assert beside.scores == pytest.approx(alone.scores, rel=1e-3), "maybe a second later: purchases fade"
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


EXPLORING = placed(explore=0.25)


@pytest.fixture
async def shop_with_news(shop: Gateway) -> Gateway:
    """Twelve more items, that the model does not know: n00 is sold out."""
    items = [
        {
            "id": f"n{at:02}", "updated_at": clock.now(), "categories": ["c3" if at % 2 else "c4"],
            "offers": [{"market": None, "price": 5, "currency": "EUR", "available": at > 0}],
        }
        for at in range(12)
    ]  # fmt: skip
    await upsert_items(shop.pool, items)  # type: ignore[arg-type]
    await shop.catalogue.refresh()
    return shop


def by_chance(shop: Gateway, page: Page) -> dict[int, str]:
    """By place, counted from 1, the items of a page that have their place by chance."""
    ids = [item.id for item in shop.catalogue.items(page.numbers) if item]
    return {at: id for at, (id, code) in enumerate(zip(ids, page.reasons, strict=True), 1) if code == EXPLORATION}


async def test_a_share_of_the_places_is_given_by_chance_to_items_that_nobody_bought(shop_with_news: Gateway) -> None:
    found = set[str]()
    for at in range(12):
        person = Person("user", f"p{at}")
        page = await page_of(shop_with_news, EXPLORING, person, first=16)
        explored = by_chance(shop_with_news, page)
        assert list(explored) == [4, 8, 12, 16]
        assert all(id[0] == "n" and id != "n00" for id in explored.values())
        assert [page.probabilities[place - 1] for place in explored] == [None] * 4
        plain = await page_of(shop_with_news, PLAIN, person, first=16)
        ranked = [number for place, number in enumerate(page.numbers, 1) if place not in explored]
        assert ranked == plain.numbers[: len(ranked)]
        found |= set(explored.values())
    assert len(found) > 6, "people get different ones"


async def test_the_signed_id_of_a_list_has_the_propensities(shop_with_news: Gateway) -> None:
    signer = shop_with_news.signer
    page = await page_of(shop_with_news, EXPLORING, first=16)
    impression = read_impression(signer, new_impression(signer, "home", "m", page))
    assert tuple(impression) == ("home", "m", page.pin.as_of, 0, {at: draws / DRAWS for at, draws in page.explored})
    assert list(impression.propensities) == [3, 7, 11, 15]
    assert all(0 < each < 1 for each in impression.propensities.values())
    plain = await page_of(shop_with_news, PLAIN)
    assert read_impression(signer, new_impression(signer, "home", None, plain))[-1] == {}
    longest = replace(page, explored=[(at, DRAWS) for at in range(30)])
    assert len(new_impression(signer, "h" * 64, "affinity-20260105T000000-3ec420311a", longest)) < LONGEST_TEXT
    with pytest.raises(UnknownImpression):
        read_impression(signer, "x" + new_impression(signer, "home", None, plain)[1:])


async def test_a_draw_is_followed_as_often_as_its_propensity_says(shop_with_news: Gateway) -> None:
    table = shop_with_news.models.explorables.of(shop_with_news.models.current.universe, NOW)  # type: ignore[union-attr]
    people = [Person("user", f"p{at}") for at in range(4_000)]
    drawn = np.bincount([draw_of(person, "home", 20_000) for person in people], minlength=DRAWS)
    assert drawn.min() > 0
    picks = [table.picks(np.ones(len(table.numbers), np.bool_), 1, draw)[0] for draw in range(DRAWS)]
    for number, draws in {(pick.number, pick.draws) for pick in picks}:
        share = drawn[[pick.number == number for pick in picks]].sum() / len(people)
        assert abs(share - draws / DRAWS) < 4 * (draws / DRAWS / len(people)) ** 0.5


async def test_items_that_can_be_bought_may_be_explored_and_those_of_two_days_are_kept(shop_with_news: Gateway) -> None:
    explorables, universe = shop_with_news.models.explorables, shop_with_news.models.current.universe  # type: ignore[union-attr]
    today = explorables.of(universe, NOW)
    ids = {id_of(shop_with_news, number) for number in today.numbers.tolist()}
    assert {f"n{at:02}" for at in range(1, 12)} <= ids and "n00" not in ids
    yesterday = explorables.of(universe, NOW - 86_400)
    assert explorables.of(universe, NOW) is today
    assert explorables.of(universe, NOW - 86_400) is yesterday


async def test_places_by_chance_keep_to_filters_rules_and_pages(shop_with_news: Gateway) -> None:
    shop, odd = shop_with_news, placed(explore=0.3, filter={"not": {"categories": ["c4"]}})
    for at in range(8):
        person = Person("user", f"p{at}")
        only = {"exclude": ["n01", "n03"], "filter": Filter(categories=("c0", "c3", "c4"))}
        page = await page_of(shop, odd, person, first=12, **only)
        assert set(by_chance(shop, page).values()) <= {"n05", "n07", "n09", "n11"}
        assert len(by_chance(shop, page)) == 3
        both, after = await page_of(shop, EXPLORING, person, first=20), None
        pages = list[int]()
        for first in (3, 9, 8):
            part = await page_of(shop, EXPLORING, person, first=first, after=after)
            pages += part.numbers
            after = part.cursor(shop.signer, first - 1)
        assert pages == both.numbers
        documents: list[dict[str, Any]] = [
            {"kind": "PIN", "itemId": "i05", "position": 4},
            {"kind": "AT_MOST", "count": 1, "per": "CATEGORY", "filter": {"categories": ["c3", "c4"]}},
        ]
        rules = [Rule.of(f"r{at}", 1, read_rule(document)) for at, document in enumerate(documents)]
        ruled = await page_of(shop, EXPLORING, person, rules=RulesInForce(rules, None), first=16)
        assert ruled.numbers[3] == shop.catalogue.number_of("i05")
        found = categories(shop, ruled.numbers)
        assert max(found.count("c3"), found.count("c4")) <= 1


async def test_what_a_rule_places_is_not_there_by_chance(shop_with_news: Gateway) -> None:
    shop, new = shop_with_news, {"kind": "SLOTS", "filter": {"categories": ["c3", "c4"]}}
    pinned = next(iter(by_chance(shop, await page_of(shop, EXPLORING, first=16)).values()))

    async def ruled(**document: Any) -> Page:
        rules = RulesInForce([Rule.of("r", 1, read_rule(document))], None)
        page = await page_of(shop, EXPLORING, rules=rules, first=8)
        assert [place for place, _ in page.explored] == [place - 1 for place in by_chance(shop, page)]
        return page

    for count in (1, 4):
        page = await ruled(**new, count=count, of=4)
        assert sum(id_of(shop, number)[0] == "n" for number in page.numbers) == 2 * count
        assert by_chance(shop, page) == {}
    page = await ruled(kind="PIN", itemId=pinned, position=4)
    assert len(by_chance(shop, page)) == 1 and pinned not in by_chance(shop, page).values()


async def test_lists_of_given_items_and_of_other_kinds_have_no_place_by_chance(shop_with_news: Gateway) -> None:
    for request in ({"among": [*IDS, "n01"]}, {"asked": ListKind.POPULAR}, {"asked": ListKind.BUY_AGAIN}):
        page = await page_of(shop_with_news, EXPLORING, **request)
        assert (by_chance(shop_with_news, page), page.explored) == ({}, [])


CLEO = Person("user", "cleo")
OWN_IDS = IDS[8:14]


@pytest.fixture
async def shop_with_history(shop: Gateway) -> Gateway:
    """Cleo bought six items five times each, the last time a month ago."""
    now = clock.now()
    bought = [
        {
            "type": "PURCHASE", "itemId": id, "id": f"{id}-{month}", "orderId": f"{id}-{month}", "userId": CLEO.id,
            "occurredAt": (now - timedelta(days=30 * month + at)).isoformat(),
        }
        for month in range(1, 6)
        for at, id in enumerate(OWN_IDS)
    ]  # fmt: skip
    await insert_events(shop.pool, [read_event(each, source="shop", received_at=now) for each in bought])
    return shop


def id_of(shop: Gateway, number: int) -> str:
    item = shop.catalogue.item(number)
    assert item is not None
    return item.id


def count_own(shop: Gateway, page: Page) -> int:
    return sum(item.id in OWN_IDS for item in shop.catalogue.items(page.numbers) if item)


async def test_a_share_of_the_list_is_for_what_the_person_bought_before(shop_with_history: Gateway) -> None:
    shop = shop_with_history
    plain = await page_of(shop, PLAIN, CLEO)
    for share, own in ((0.0, 0), (0.25, 2), (0.5, 4), (1, 6)):
        for diversity in (0, 0.5):
            page = await page_of(shop, placed(repeatShare=share, diversity=diversity), CLEO, first=8)
            assert count_own(shop, page) == own
        page = await page_of(shop, placed(repeatShare=share), CLEO)
        for is_own in (True, False):
            of_class = [
                [number for number in each.numbers if (id_of(shop, number) in OWN_IDS) is is_own]
                for each in (page, plain)
            ]
            assert of_class[0] == of_class[1], "own items keep their order, and so do others"
    page = await page_of(shop, placed(repeatShare="OWN"), CLEO, first=16)
    assert count_own(shop, page) == 6, "0.73 of 16 places, if there were as many"
    page = await page_of(shop, placed(repeatShare="OWN", repeat="HIDDEN"), CLEO, first=16)
    assert count_own(shop, page) == 0
    for person, request in ((CLEO, {"asked": ListKind.BUY_AGAIN}), (CLEO, {"personalize": False}), (PEOPLE[0], {})):
        shared = await page_of(shop, placed(repeatShare=0), person, **request)
        assert shared.numbers == (await page_of(shop, PLAIN, person, **request)).numbers, "there is nothing to share"
