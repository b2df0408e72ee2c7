"""What the settings of a placement do to lists: by themselves, together, and beside what the caller asks for."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from core.turns import OneAtATime
from db.events import insert_events
from db.items import upsert_items
from db.placements import save_placement
from engine.catalogue.filters import Filter
from engine.explaining.explaining import Explainer
from engine.explaining.removals import RemovalRule
from engine.placements.changing import change_placement, replace_placement, revert_placement
from engine.placements.placement import Placement
from engine.placements.settings import read_settings
from engine.reasons.texts import ReasonTexts
from engine.recommending.page_slots import PageMaker
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from tests.faults import eventually
from tests.fixtures.gateway import MakeBundle, Serve

ANNA, BERT = Person("user", "anna"), Person("user", "bert")
IDS = [f"i{number:02}" for number in range(24)]
BOUGHT = {"i00": 1, "i05": 40, "i09": 40}  # days ago, by anna; i05 twice, so that it is due
TEXTS = ReasonTexts.own()


def offer(at: int) -> dict[str, Any]:
    return {"market": None, "price": at, "list_price": None, "currency": "EUR" if at % 4 else "GBP", "available": True}


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """24 items of price 0 to 23, every second in `even`, the last four in two variant groups; anna bought three."""
    now = clock.now()
    items = [
        {
            "id": id, "updated_at": now, "categories": ["even"] if at % 2 == 0 else ["odd"], "offers": [offer(at)],
            "group_id": f"g{at // 2}" if at >= 20 else None,
        }
        for at, id in enumerate(IDS)
    ]  # fmt: skip
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    bought = [*BOUGHT.items(), ("i05", 80), ("i20", 50)]
    events = [
        {"type": "PURCHASE", "userId": "anna", "itemId": id, "id": f"{id}-{days}", "orderId": f"{id}-{days}"}
        | {"occurredAt": (now - timedelta(days=days)).isoformat()}
        for id, days in bought
    ]
    await insert_events(gateway.pool, [read_event(each, source="shop", received_at=now) for each in events])
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


def placed(**document: Any) -> Placement:
    return Placement.of("home", 1, read_settings(document), TEXTS)


def recommender(shop: Gateway) -> Recommender:
    turns = OneAtATime(shop.turns, "shop")
    return Recommender(shop.catalogue, shop.models, shop.signer, PersonLoader(shop.people), turns)


async def listed(shop: Gateway, person: Person = ANNA, **request: Any) -> list[str]:
    """The ids of a list. It is the same alone and on a page."""
    wanted = ListRequest(**{"first": 24, **request})
    alone = await recommender(shop).for_person(person, wanted)
    if wanted.among is None:
        turns = OneAtATime(shop.turns, "shop")
        maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
        (beside,) = await maker.make(person, [wanted], lambda _, found: found, distinct=True)
        assert not isinstance(beside, Exception), beside
        assert beside.page.numbers == alone.page.numbers
    return [item.id for item in shop.catalogue.items(alone.page.numbers) if item]


def group_of(id: str) -> str:
    return f"g{int(id[1:]) // 2}" if int(id[1:]) >= 20 else id


Allows = Callable[[int], bool]
FILTERS: dict[str, tuple[dict[str, Any], Filter, Allows]] = {
    "even": ({"categories": ["even"]}, Filter(categories=("even",)), lambda at: at % 2 == 0),
    "not even": (
        {"not": {"categories": ["even"]}},
        Filter(without=Filter(categories=("even",))),
        lambda at: at % 2 == 1,
    ),
    "cheap": ({"price": {"max": "9"}}, Filter(high=9), lambda at: at <= 9),
}
BANDS: dict[str, tuple[list[dict[str, Any]], Allows]] = {
    "from 5": ([{"from": 5}], lambda at: at >= 5),
    "in euros": ([{"to": "15.5", "currency": "EUR"}], lambda at: at <= 15 and at % 4 != 0),
    "elsewhere": ([{"market": "FR", "to": 1}], lambda at: True),
}
DRAWN = list(
    product(
        (None, *FILTERS), (None, *BANDS), ("ALLOWED", "HIDDEN"), ([], ["NEW"], ["POPULAR", "NEW"]), (None, *FILTERS)
    )
)


async def test_a_list_has_exactly_what_the_placement_and_the_caller_allow_and_is_never_short(shop: Gateway) -> None:
    draw = Random(7)  # noqa: S311
    for filter, band, repeat, fallback, asked in draw.sample(DRAWN, 60):
        document: dict[str, Any] = {"repeat": repeat, "fallback": fallback}
        rules: list[Allows] = []
        if filter:
            document["filter"] = FILTERS[filter][0]
            rules.append(FILTERS[filter][2])
        if band:
            document["price"] = BANDS[band][0]
            rules.append(BANDS[band][1])
        if asked:
            rules.append(FILTERS[asked][2])
        own = {"i00", "i05", "i09", "i20", "i21"} if repeat == "HIDDEN" else set[str]()
        for person, hidden in ((ANNA, own), (BERT, set[str]())):
            may = [id for at, id in enumerate(IDS) if all(rule(at) for rule in rules) and id not in hidden]
            wanted, first = len({group_of(id) for id in may}), draw.randint(1, 24)
            given = FILTERS[asked][1] if asked else None
            found = await listed(shop, person, placement=placed(**document), filter=given, first=first)
            assert set(found) <= set(may), (document, asked)
            assert len(found) == min(first, wanted), (document, asked)
            assert len({group_of(id) for id in found}) == len(found)


async def test_of_ones_own_items_only_those_that_are_due_come_back(shop: Gateway) -> None:
    assert {"i05", "i09"} <= set(await listed(shop))
    due = set(await listed(shop, placement=placed(repeat="DUE_ONLY")))
    assert "i05" in due and not {"i00", "i09", "i20", "i21"} & due  # i05 was bought every 40 days
    assert not set(BOUGHT) & set(await listed(shop, placement=placed(repeat="HIDDEN")))
    asked: dict[str, Any] = {"placement": placed(repeat="HIDDEN"), "personalize": False}
    assert set(BOUGHT) <= set(await listed(shop, **asked)), "nothing that is stored of the person is used"
    ranked = await listed(shop, placement=placed(repeat="HIDDEN"), among=["i09", "i10", "i05"])
    assert ranked == ["i10"]


async def test_the_fallback_makes_the_list_of_a_stranger_and_fills_that_of_anybody(shop: Gateway) -> None:
    await shop.pool.execute(
        "UPDATE items SET created_at = now() - interval '1 year' WHERE id <> ALL($1)", ["i13", "i17"]
    )
    await upsert_items(shop.pool, [{"id": id, "updated_at": clock.now(), "title": "again"} for id in IDS])
    await shop.catalogue.refresh()

    async def new_ones_lead() -> bool:  # the catalogue is ordered anew after a rest
        await shop.models._refresh_fallbacks()
        return set((await listed(shop, BERT, placement=placed(fallback=["NEW"])))[:2]) == {"i13", "i17"}

    await eventually(new_ones_lead)
    assert set((await listed(shop, BERT))[:2]) != {"i13", "i17"}
    assert (await listed(shop, placement=placed(fallback=["NEW"])))[:2] == (await listed(shop))[:2]


async def test_a_kept_list_does_not_outlive_a_change_and_other_placements_keep_theirs(shop: Gateway) -> None:
    async def of(name: str) -> list[str]:
        request = ListRequest(24, placement=shop.placements.find(name), shelf=name)
        made = await recommender(shop).for_person(ANNA, request)
        return [item.id for item in shop.catalogue.items(made.page.numbers) if item]

    before = await of("home")
    await change_placement(shop.pool, "home", {"filter": {"categories": ["odd"]}}, "tests")
    await change_placement(shop.pool, "cart", {"repeat": "HIDDEN"}, "tests")
    await shop.placements.refresh()
    kept = shop.placements.find("cart")
    odd = await of("home")
    assert odd != before and all(int(id[1:]) % 2 for id in odd) and len(odd) == 12
    await replace_placement(shop.pool, "home", None, "tests")
    await shop.placements.refresh()
    assert (await of("home"), shop.placements.find("home"), shop.placements.find("cart")) == (before, None, kept)
    await revert_placement(shop.pool, "home", 1, "tests")
    await shop.placements.refresh()
    assert await of("home") == odd


async def test_settings_of_a_later_release_leave_what_is_known(shop: Gateway) -> None:
    await save_placement(shop.pool, "home", lambda _: {"repeat": "HIDDEN"}, "tests", None)
    await shop.placements.refresh()
    known = shop.placements.find("home")
    await save_placement(shop.pool, "home", lambda _: {"unheard": 1}, "tests", None)
    await save_placement(shop.pool, "cart", lambda _: {}, "tests", None)
    await shop.placements.refresh()
    assert (shop.placements.find("home"), shop.placements.find("cart") is not None) == (known, True)


async def test_an_explanation_names_the_rule_of_the_placement(shop: Gateway) -> None:
    async def rule(item: str, **document: Any) -> RemovalRule | None:
        people, turns = PersonLoader(shop.people), OneAtATime(shop.turns, "shop")
        explainer = Explainer(
            shop.catalogue, shop.models, recommender(shop), people, turns, shop.shares.expensive.of("tests"),
            dislikes_hold=timedelta(days=1),
        )  # fmt: skip
        found = await explainer.explain(ANNA, item, ListRequest(24, placement=placed(**document)))
        return found.removal and found.removal.rule

    assert await rule("i09") is None
    assert await rule("i09", filter={"categories": ["even"]}) is RemovalRule.PLACEMENT_FILTER
    assert await rule("i09", price=[{"to": 8}]) is RemovalRule.PLACEMENT_PRICE
    assert await rule("i09", repeat="DUE_ONLY") is RemovalRule.PLACEMENT_REPEAT
    assert await rule("i21", repeat="HIDDEN") is RemovalRule.PLACEMENT_REPEAT
    assert await rule("i00", repeat="HIDDEN") is RemovalRule.PLACEMENT_REPEAT
