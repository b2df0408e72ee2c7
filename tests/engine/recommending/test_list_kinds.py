"""The kinds of lists, each against a simple reference: alone and on a page, with whatever the caller asks for."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from core.turns import OneAtATime
from db.events import insert_events
from db.items import upsert_items
from engine.catalogue.filters import Filter
from engine.explaining.explaining import Explainer, ExplanationOutcome
from engine.explaining.removals import RemovalRule
from engine.placements.placement import Placement
from engine.placements.settings import ListKind, read_settings
from engine.reasons.texts import ReasonTexts
from engine.recommending.list_kinds import RANKED
from engine.recommending.page_slots import PageMaker
from engine.recommending.pages import Page
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from ml.ranked import REASONS
from tests.fixtures.gateway import MakeBundle, Serve

IDS = [f"i{at:02}" for at in range(24)]  # of price 10 to 33; every third is on sale, every second `even`
FILLS = {"POPULAR", "TRENDING", "BOUGHT_BY_OTHERS", "NEW", "OTHER"}
PEOPLE = [Person("user", name) for name in ("anna", "bert", "cleo", "dora")] + [Person("guest", "g1")]
STRANGER = Person("user", "nobody")
Event = tuple[str, str, float]  # the type, the item, days ago


def offer(at: int) -> dict[str, Any]:
    usual = 50 if at % 3 == 0 else 10 + at
    return {"market": None, "price": 10 + at, "list_price": usual, "currency": "EUR", "available": at != 7}


def history(draw: Random) -> list[Event]:
    """Purchases, views and cart adds of one person, at different moments."""
    moments = draw.sample(range(3, 900), 30)
    kinds = draw.choices(["PURCHASE", "VIEW", "CLICK"], weights=[5, 4, 1], k=len(moments))
    found = [(kind, draw.choice(IDS), moment / 10) for kind, moment in zip(kinds, moments, strict=True)]
    return [*found, ("ADD_TO_CART", draw.choice(IDS), 0.1), ("DISLIKE", draw.choice(IDS), 0.2)]


HISTORIES = {person: history(Random(seed)) for seed, person in enumerate(PEOPLE)}  # noqa: S311


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """24 items, the last four in two variant groups, and people with a history."""
    now = clock.now()
    items = [
        {
            "id": id, "updated_at": now, "title": id, "categories": ["even"] if at % 2 == 0 else ["odd"],
            "offers": [offer(at)], "group_id": f"g{at // 2}" if at >= 20 else None,
        }
        for at, id in enumerate(IDS)
    ]  # fmt: skip
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    events = [
        _event(person, event, now, f"{person.id}-{at}")
        for person, events in HISTORIES.items()
        for at, event in enumerate(events)
    ]
    await insert_events(gateway.pool, [read_event(each, source="shop", received_at=now) for each in events])
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    gateway.models.trends.follow_trending()
    await gateway.models.load()
    return gateway


def _event(person: Person, event: Event, now: datetime, id: str) -> dict[str, Any]:
    kind, item, days = event
    of = {"userId": person.id} if person.kind == "user" else {"anonymousId": person.id}
    at = (now - timedelta(days=days)).isoformat()
    return {
        "type": kind,
        "itemId": item,
        "id": id,
        "occurredAt": at,
        **of,
        **({"orderId": id} if kind == "PURCHASE" else {}),
    }


def recommender(shop: Gateway) -> Recommender:
    turns = OneAtATime(shop.turns, "shop")
    return Recommender(shop.catalogue, shop.models, shop.signer, PersonLoader(shop.people), turns)


async def page_of(shop: Gateway, person: Person, kind: ListKind | None, **request: Any) -> Page:
    """The first page of a list. It is the same alone and as a slot of a page."""
    wanted = ListRequest(**{"first": 24, **request}, asked=kind)
    alone = (await recommender(shop).for_person(person, wanted)).page
    if wanted.among is None:
        turns = OneAtATime(shop.turns, "shop")
        maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
        other = ListRequest(24, asked=ListKind.PERSONAL)
        made = await maker.make(person, [wanted, other], lambda _, found: found.page, distinct=True)
        beside, rest = made
        assert isinstance(beside, Page) and isinstance(rest, Page), made
        assert (beside.numbers, beside.reasons, beside.because) == (alone.numbers, alone.reasons, alone.because)
        assert not set(beside.numbers) & set(rest.numbers)
    return alone


def ids_of(shop: Gateway, numbers: Sequence[int]) -> list[str]:
    return [item.id for item in shop.catalogue.items(numbers) if item]


async def split(shop: Gateway, person: Person, kind: ListKind, **request: Any) -> tuple[list[str], list[str]]:
    """The items of the kind, and those that fill the list, of which none comes before the others."""
    page = await page_of(shop, person, kind, **request)
    ids, fills = ids_of(shop, page.numbers), [REASONS[code] in FILLS for code in page.reasons]
    assert fills == sorted(fills)
    assert len({group_of(id) for id in ids}) == len(ids)
    return ids[: fills.count(False)], ids[fills.count(False) :]


def group_of(id: str) -> str:
    return f"g{int(id[1:]) // 2}" if int(id[1:]) >= 20 else id


def last_of(person: Person, *kinds: str) -> dict[str, float]:
    """By item how many days ago the last event of these types was."""
    found: dict[str, float] = {}
    for kind, item, days in HISTORIES.get(person, []):
        if kind in kinds:
            found[item] = min(days, found.get(item, days))
    return found


def left_out(person: Person) -> set[str]:
    """What is in the person's cart, was disliked after the last purchase, or was just bought; and its variants."""
    bought = last_of(person, "PURCHASE")
    own = set(last_of(person, "ADD_TO_CART"))
    own |= {item for item, days in last_of(person, "DISLIKE").items() if bought.get(item, 99) > days}
    own |= {item for item, days in bought.items() if days < 0.25}
    groups = {group_of(item) for item in own}
    return {id for id in IDS if group_of(id) in groups}


def one_per_group(ids: Sequence[str]) -> list[str]:
    first = dict[str, str]()
    return [id for id in ids if first.setdefault(group_of(id), id) == id]


Allows = Callable[[int], bool]
UP_TO_25 = Placement.of("home", 1, read_settings({"price": [{"to": 25}]}), ReasonTexts.own())
ASKED: list[tuple[dict[str, Any], Allows]] = [
    ({}, lambda at: True),
    ({"filter": Filter(categories=("even",))}, lambda at: at % 2 == 0),
    ({"category": "odd"}, lambda at: at % 2 == 1),
    ({"exclude": IDS[:9]}, lambda at: at >= 9),
    (
        {"placement": Placement.of("home", 1, read_settings({"price": [{"to": 25}]}), ReasonTexts.own())},
        lambda at: at <= 15,
    ),
]


def may(person: Person, allows: Allows, *, context: Sequence[str] = ()) -> Callable[[str], bool]:
    shown = {group_of(id) for id in context}
    out = left_out(person)
    return lambda id: id not in out and group_of(id) not in shown and id != "i07" and allows(int(id[1:]))


async def test_recently_viewed_is_what_was_not_bought_since_newest_first(shop: Gateway) -> None:
    for person in PEOPLE:
        viewed, bought = last_of(person, "VIEW", "CLICK", "ADD_TO_CART"), last_of(person, "PURCHASE")
        for asked, allows in ASKED:
            just = ["i18", "i02"]
            newest = sorted((id for id in viewed if viewed[id] < bought.get(id, 999)), key=viewed.__getitem__)
            for extra, first in (({}, []), ({"viewed_items": just}, just)):
                expected = [id for id in dict.fromkeys([*first, *newest]) if may(person, allows)(id)]
                found, fill = await split(shop, person, ListKind.RECENTLY_VIEWED, **asked, **extra)
                assert found == one_per_group(expected), (person, asked)
                assert all(may(person, allows)(id) for id in fill)
    assert (await split(shop, STRANGER, ListKind.RECENTLY_VIEWED))[0] == []
    assert (await split(shop, PEOPLE[0], ListKind.RECENTLY_VIEWED, personalize=False))[0] == []


async def test_buy_again_has_what_is_due_first_and_nothing_that_nobody_buys_again(shop: Gateway) -> None:
    for person in PEOPLE:
        moments: dict[str, list[float]] = {}
        for kind, item, days in HISTORIES[person]:
            if kind == "PURCHASE":
                moments.setdefault(item, []).append(days)
        twice = {item: sorted(days) for item, days in moments.items() if len(days) > 1}
        gap = {item: (days[-1] - days[0]) / (len(days) - 1) for item, days in twice.items()}
        due = {item for item in twice if twice[item][0] >= 0.9 * gap[item]}
        overdue = {item: twice[item][0] - gap[item] for item in twice}
        by_date = sorted(due, key=overdue.__getitem__) + sorted(twice.keys() - due, key=lambda item: -overdue[item])
        for asked, allows in ASKED:
            expected = [id for id in by_date if may(person, allows)(id)]
            found, _ = await split(shop, person, ListKind.BUY_AGAIN, **asked)
            assert found == one_per_group(expected), (person, asked)
        page = await page_of(shop, person, ListKind.BUY_AGAIN)
        for id, code, every in zip(ids_of(shop, page.numbers), page.reasons, page.every, strict=True):
            assert (REASONS[code] == "DUE_AGAIN") == (id in due)
            assert every == (round(gap[id]) if id in due else 0)
    assert any(left_out(person) != set() for person in PEOPLE)


async def test_bought_together_has_what_completes_the_page_or_else_the_cart(shop: Gateway) -> None:
    draw = Random(3)  # noqa: S311
    for person in (*PEOPLE, STRANGER):
        for asked, allows in ASKED:
            for context in ([], draw.sample(IDS, 1), draw.sample(IDS, 3)):
                cart = [id for id in last_of(person, "ADD_TO_CART") if allows(int(id[1:])) and id != "i07"]
                completes = {IDS[(IDS.index(id) + 2) % 24]: id for id in context or cart}
                found, _ = await split(shop, person, ListKind.BOUGHT_TOGETHER, **asked, context_items=context)
                expected = {id for id in completes if may(person, allows, context=context)(id)}
                assert {group_of(id) for id in found} == {group_of(id) for id in expected}, (person, asked, context)
                page = await page_of(shop, person, ListKind.BOUGHT_TOGETHER, **asked, context_items=context)
                causes = ids_of(shop, page.because[: len(found)])
                assert causes == [completes[id] for id in found]


async def test_alternatives_are_of_one_category_and_cost_about_as_much(shop: Gateway) -> None:
    for person in (PEOPLE[0], STRANGER):
        for id in ("i00", "i07", "i11", "i20"):
            for asked, allows in ASKED:
                at, ok = int(id[1:]), may(person, allows, context=[id])
                same = [
                    other for other in IDS
                    if int(other[1:]) % 2 == at % 2 and (10 + at) / 1.5 <= 10 + int(other[1:]) <= (10 + at) * 1.5
                ]  # fmt: skip
                found, fill = await split(shop, person, ListKind.ALTERNATIVES, **asked, context_items=[id, "i03"])
                out = {id, "i03"}
                expected = {group_of(other) for other in same if ok(other) and other not in out}
                assert {group_of(other) for other in found} == expected, (person, id, asked)
                assert not set(fill) & set(found)
    assert (await split(shop, PEOPLE[0], ListKind.ALTERNATIVES))[0] == []


async def test_new_for_you_has_nothing_that_the_person_knows_and_is_never_filled_with_it(shop: Gateway) -> None:
    for person in (*PEOPLE, STRANGER):
        known = {group_of(item) for _, item, _ in HISTORIES.get(person, [])}
        for asked, allows in ASKED:
            page = await page_of(shop, person, ListKind.NEW_FOR_YOU, **asked)
            personal = ids_of(shop, (await page_of(shop, person, ListKind.PERSONAL, **asked)).numbers)
            expected = {group_of(id) for id in IDS if may(person, allows)(id)} - known
            found = ids_of(shop, page.numbers)
            assert {group_of(id) for id in found} == expected, (person, asked)
            ranked = [id for id in personal if group_of(id) not in known]
            if person is not STRANGER:
                assert found == ranked


async def test_new_for_you_leaves_out_what_the_request_says_was_just_viewed(shop: Gateway) -> None:
    for person in (PEOPLE[0], STRANGER):
        before = ids_of(shop, (await page_of(shop, person, ListKind.NEW_FOR_YOU)).numbers)
        page = await page_of(shop, person, ListKind.NEW_FOR_YOU, viewed_items=before[:2])
        gone = {group_of(id) for id in before[:2]}
        assert {group_of(id) for id in ids_of(shop, page.numbers)} == {group_of(id) for id in before} - gone, person


async def test_on_sale_has_what_is_reduced_in_the_order_of_the_person_and_nothing_else(shop: Gateway) -> None:
    for person in (*PEOPLE, STRANGER):
        for asked, allows in ASKED:
            found = ids_of(shop, (await page_of(shop, person, ListKind.ON_SALE, **asked)).numbers)
            expected = {group_of(id) for id in IDS if may(person, allows)(id) and int(id[1:]) % 3 == 0}
            assert {group_of(id) for id in found} == expected


@pytest.mark.parametrize("kind", [ListKind.POPULAR, ListKind.TRENDING])
async def test_popular_and_trending_are_by_the_number_of_people_within_their_window(
    shop: Gateway, kind: ListKind
) -> None:
    days = 28 if kind is ListKind.POPULAR else 7
    people: dict[str, set[Person]] = {}
    for person, events in HISTORIES.items():
        for type, item, ago in events:
            if type == "PURCHASE" and ago < days:
                people.setdefault(item, set()).add(person)
    assert people
    for person in (*PEOPLE, STRANGER):
        for asked, allows in ASKED:
            page = await page_of(shop, person, kind, **asked)
            said = [
                id for id, code in zip(ids_of(shop, page.numbers), page.reasons, strict=True) if REASONS[code] == kind
            ]
            counts = [len(people[id]) for id in said]
            assert counts == sorted(counts, reverse=True)
            assert {group_of(id) for id in said} == {group_of(id) for id in people if may(person, allows)(id)}
            assert said == ids_of(shop, page.numbers)[: len(said)]


@pytest.mark.parametrize("kind", list(ListKind))
async def test_every_kind_goes_on_over_pages_reranks_given_items_and_follows_the_placement(
    shop: Gateway, kind: ListKind
) -> None:
    context = {"context_items": ["i11"]}
    for person in (PEOPLE[0], PEOPLE[-1], STRANGER):
        whole = await page_of(shop, person, kind, **context)
        pages, after = list[int](), None
        while True:
            request = ListRequest(5, after=after, asked=kind, context_items=["i11"])
            page = (await recommender(shop).for_person(person, request)).page
            pages += page.numbers
            if not page.more:
                break
            after = page.cursor(shop.signer, len(page.numbers) - 1)
        if kind not in RANKED:  # there, each page lets what is near to the context take turns anew
            assert pages == whole.numbers
        assert len(set(pages)) == len(pages) == len(whole.numbers)
        placed = Placement.of("home", 1, read_settings({"list": kind}), ReasonTexts.own())
        by_placement = await page_of(shop, person, None, placement=placed, **context)
        assert (by_placement.numbers, by_placement.reasons) == (whole.numbers, whole.reasons)
        assert (await page_of(shop, person, ListKind.PERSONAL, placement=placed, **context)).numbers == (
            await page_of(shop, person, ListKind.PERSONAL, **context)
        ).numbers, "the request wins"
        given = ["i18", "i11", "i06", "i18", "i05", "i07"]
        ranked = ids_of(shop, (await page_of(shop, person, kind, among=given)).numbers)
        assert len(set(ranked)) == len(ranked) and set(ranked) <= {"i18", "i11", "i06", "i05"}
        if kind not in {ListKind.NEW_FOR_YOU, ListKind.ON_SALE} and person is STRANGER:
            assert set(ranked) == {"i18", "i11", "i06", "i05"}


@pytest.mark.parametrize("kind", list(ListKind))
async def test_an_explanation_says_of_every_item_where_the_list_has_it(shop: Gateway, kind: ListKind) -> None:
    people, turns = PersonLoader(shop.people), OneAtATime(shop.turns, "shop")
    anna, request = PEOPLE[0], ListRequest(6, asked=kind, context_items=["i11"])
    shown = ids_of(shop, (await page_of(shop, anna, kind, first=6, context_items=["i11"])).numbers)
    for id in IDS:
        explainer = Explainer(
            shop.catalogue, shop.models, recommender(shop), people, turns, shop.shares.expensive.of("tests"),
            dislikes_hold=timedelta(days=1),
        )  # fmt: skip
        found = await explainer.explain(anna, id, request)
        assert (found.outcome is ExplanationOutcome.SHOWN) == (id in shown), id
        if id in shown:
            assert found.rank == shown.index(id) + 1
        elif kind is ListKind.ON_SALE and int(id[1:]) % 3 and id != "i07":
            assert found.removal and found.removal.rule is RemovalRule.NOT_ON_SALE
        elif kind is ListKind.NEW_FOR_YOU and found.removal and found.removal.rule is RemovalRule.NOT_NEW:
            assert group_of(id) in {group_of(item) for _, item, _ in HISTORIES[anna]}
