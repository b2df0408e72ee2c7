"""`User.page`: slots in the order asked, no item twice, one read and one run of the network, errors by slot."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from core.errors import TookTooLong
from core.uploads import Offer
from db import cache
from db.cache import add_recent
from db.events import insert_events
from db.items import upsert_items
from engine.recommending import page_slots
from engine.recommending.pages import cut_page
from engine.recommending.people import PeopleReader
from ml.affinity.network import Network
from ml.state import State
from tests.fixtures.gateway import Answer, Ask, MakeBundle, Serve

ANNA = Person("user", "anna")
IDS = [f"i{number:02}" for number in range(40)]
SOLD = IDS[:37]
PAGE = """query ($id: ID! = "anna", $requests: [PlacementRequest!]!, $context: RecommendationContext,
  $distinct: Boolean! = true, $market: ID) {
  user(id: $id) { page(requests: $requests, context: $context, distinct: $distinct, market: $market) {
    key placement recommendations { impressionId placement modelVersion asOf degraded nodes { id }
      edges { rank impressionId reason { code } } pageInfo { hasNextPage endCursor } } } } }"""
LIST = """query ($id: ID! = "anna", $first: Int! = 5, $filter: ItemFilter, $context: RecommendationContext,
  $after: String) { user(id: $id) { recommendations(first: $first, filter: $filter, context: $context, after: $after) {
    nodes { id } } } }"""


def event(type: str, item: str, *, days: float = 10, **fields: Any) -> Event:
    now = clock.now()
    raw = {
        "type": type, "itemId": item, "userId": "anna", "id": f"{type}-{item}-{days}",
        "occurredAt": (now - timedelta(days=days)).isoformat(), **fields,
    }  # fmt: skip
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Forty items: every third in c0, the last three unavailable, i10 to i15 variants of one group."""
    now = clock.now()
    await upsert_items(
        gateway.pool,
        [
            {
                "id": id,
                "updated_at": now - timedelta(days=1),
                "categories": ["all", f"c{number % 3}"],
                "group_id": "g" if 10 <= number <= 15 else None,
                "offers": [Offer(None, None, None, None, available=id in SOLD)],
            }
            for number, id in enumerate(IDS)
        ],
    )
    await gateway.catalogue.refresh()
    await insert_events(gateway.pool, [event("PURCHASE", id, userId="bert") for id in IDS[:20]])
    await insert_events(gateway.pool, [event("PURCHASE", "i30"), event("PURCHASE", "i20")])
    return gateway


@pytest.fixture
async def trained(shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> str:
    id = await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    return id


def slot(key: str, first: int = 5, **fields: Any) -> dict[str, Any]:
    return {"key": key, "placement": f"at-{key}", "first": first, **fields}


async def asked(ask: Ask, *requests: Mapping[str, Any], **variables: Any) -> Answer:
    return await ask(PAGE, {"requests": requests, **variables})


async def page(ask: Ask, *requests: Mapping[str, Any], **variables: Any) -> list[list[str]]:
    """The ids of the items of each slot."""
    answer = await asked(ask, *requests, **variables)
    assert answer.codes == [], answer.messages
    return [ids(found) for found in answer.data["user"]["page"]]


def ids(found: dict[str, Any]) -> list[str]:
    return [node["id"] for node in found["recommendations"]["nodes"]]


async def single(ask: Ask, **variables: Any) -> list[str]:
    answer = await ask(LIST, variables)
    assert answer.codes == [], answer.messages
    return ids(answer.data["user"])


async def test_slots_come_in_the_order_asked_each_with_an_impression_of_its_own(ask: Ask, trained: str) -> None:
    answer = await asked(ask, slot("b"), slot("a"), {"key": "c", "placement": "at-b"})
    slots = answer.data["user"]["page"]
    assert [(one["key"], one["placement"]) for one in slots] == [("b", "at-b"), ("a", "at-a"), ("c", "at-b")]
    lists = [one["recommendations"] for one in slots]
    assert [one["placement"] for one in lists] == ["at-b", "at-a", "at-b"]
    assert [len(one["nodes"]) for one in lists] == [5, 5, 12]
    assert len({one["impressionId"] for one in lists} - {None}) == 3
    assert {(one["modelVersion"], one["asOf"]) for one in lists} == {(trained, lists[0]["asOf"])}
    for one in lists:
        assert {edge["impressionId"] for edge in one["edges"]} == {one["impressionId"]}
        assert [edge["rank"] for edge in one["edges"]] == list(range(1, len(one["nodes"]) + 1))
        assert one["degraded"] == []


async def test_an_empty_page_has_no_slots(ask: Ask, trained: str) -> None:
    assert await page(ask) == []


async def test_no_item_or_variant_is_in_two_slots_and_later_slots_are_filled_up(ask: Ask, trained: str) -> None:
    slots = await page(ask, slot("a", 7), slot("b", 12), slot("c", 12), slot("d", 12))
    found = [id for one in slots for id in one]
    assert len(found) == len(set(found))
    assert len({f"i{number}" for number in range(10, 16)}.intersection(found)) == 1
    assert [len(one) for one in slots] == [7, 12, 12, 1]  # 37 are sold, five of them are other variants
    whole = await single(ask, first=40)
    assert found[:19] == whole[:19], "the earlier slot has the better items"
    assert set(found) == set(whole)


@pytest.mark.parametrize("field", ["itemIds", "cartItemIds"])
async def test_variants_of_what_the_context_names_are_left_out(ask: Ask, trained: str, field: str) -> None:
    variants = {f"i{number}" for number in range(10, 16)}
    assert variants.intersection(await single(ask, first=40))
    assert not variants.intersection(await single(ask, first=40, context={field: ["i10"]}))
    (found,) = await page(ask, slot("a", 40, context={field: ["i10"]}))
    assert found and not variants.intersection(found)


async def test_a_page_that_is_not_distinct_has_what_single_lists_have(ask: Ask, trained: str) -> None:
    context = {"itemIds": ["i25"]}
    filter = {"categories": ["c1"]}
    found = await page(
        ask, slot("a"), slot("b", 9, filter=filter), slot("c", context=context), slot("d", 3), distinct=False
    )
    assert found == [
        await single(ask),
        await single(ask, first=9, filter=filter),
        await single(ask, context=context),
        await single(ask, first=3),
    ]


async def test_a_slot_has_its_own_filter_and_excluded_items(ask: Ask, trained: str) -> None:
    every, filtered, without = await page(
        ask,
        slot("a", 3),
        slot("b", 40, filter={"categories": ["c1"]}),
        slot("c", 40, exclude=["i06", "i09"], filter={"categories": ["c0"]}),
    )
    assert set(filtered) | {id for id in every if int(id[1:]) % 3 == 1} == {
        id for number, id in enumerate(SOLD) if number % 3 == 1 and id != "i13"
    } | set(filtered) & {"i10", "i13"}
    assert without
    assert {"i06", "i09"}.isdisjoint(without)
    assert all(int(id[1:]) % 3 == 0 for id in without)


async def test_a_slots_context_overrides_that_of_the_page_part_by_part(ask: Ask, trained: str) -> None:
    shared = {"itemIds": ["i25"], "cartItemIds": ["i02"]}
    first, second, third = await page(
        ask,
        slot("a", 3),
        slot("b", 40, context={"itemIds": ["i28"]}),
        slot("c", 40, context={"itemIds": [], "cartItemIds": None}),
        context=shared,
        distinct=False,
    )
    assert {"i26", "i03"} < set(first)
    assert {"i29", "i03"} < set(second[:3])
    assert ("i02" in second, "i25" in second, "i28" in second) == (False, True, False)
    assert ("i02" in third, "i25" in third) == (False, True)


@pytest.mark.parametrize(("of_page", "of_slot"), [(False, True), (False, None), (True, False), (None, False)])
async def test_a_slot_is_not_personalized_when_the_page_or_the_slot_says_so(
    ask: Ask, trained: str, of_page: bool | None, of_slot: bool | None
) -> None:
    (found,) = await page(
        ask, slot("a", 40, context={"personalize": of_slot}), context={"personalize": of_page}, id="anna"
    )
    assert found == await single(ask, id="nobody", first=40)
    assert found != await single(ask, first=40)


async def test_a_market_holds_for_all_slots(ask: Ask, shop: Gateway, trained: str) -> None:
    now = clock.now()
    sold = [Offer("CH", None, None, None, available=True), Offer(None, None, None, None, available=False)]
    await upsert_items(shop.pool, [{"id": id, "updated_at": now, "offers": sold} for id in ("i03", "i04")])
    await shop.catalogue.refresh()
    first, second = await page(ask, slot("a", 1), slot("b", 40), market="CH")
    assert {"i03", "i04"} <= {*first, *second}
    answer = await asked(ask, slot("a", context={"market": "AT"}), slot("b"), market="CH")
    assert [one["recommendations"] is None for one in answer.data["user"]["page"]] == [True, False]
    assert answer.codes == ["BAD_USER_INPUT"]


async def test_guests_have_pages_and_unknown_people_the_fallback_in_every_slot(
    ask: Ask, shop: Gateway, trained: str
) -> None:
    query = 'query ($requests: [PlacementRequest!]!) { visitor(anonymousId: "g") { page(requests: $requests) { %s } } }'
    inside = "recommendations { degraded nodes { id } }"
    answer = await ask(query % inside, {"requests": [slot("a"), slot("b")]})
    slots = [one["recommendations"] for one in answer.data["visitor"]["page"]]
    assert [one["degraded"] for one in slots] == [["UNKNOWN_PERSON"]] * 2
    assert len({node["id"] for one in slots for node in one["nodes"]}) == 10
    await add_recent(shop.redis, [event("VIEW", "i25", days=0, userId=None, anonymousId="g")])
    answer = await ask(query % inside, {"requests": [slot("a")]})
    (known,) = [one["recommendations"] for one in answer.data["visitor"]["page"]]
    assert (known["degraded"], known["nodes"][0]["id"]) == ([], "i26")


async def test_without_a_model_every_slot_says_so(ask: Ask, shop: Gateway) -> None:
    await shop.models.load()
    answer = await asked(ask, slot("a"), slot("b", context={"personalize": False}), id="nobody")
    slots = [one["recommendations"] for one in answer.data["user"]["page"]]
    assert [one["degraded"] for one in slots] == [["UNKNOWN_PERSON", "NO_MODEL"], ["NO_MODEL"]]
    assert [one["modelVersion"] for one in slots] == [None, None]
    assert len({node["id"] for one in slots for node in one["nodes"]}) == 10


async def test_a_person_is_read_once_and_the_network_runs_once_for_a_page(
    ask: Ask, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, reads = count(monkeypatch, Network, "logits_after"), count(monkeypatch, cache, "ask")
    await page(
        ask,
        slot("a"),
        slot("b", filter={"categories": ["c1"]}),
        slot("c", context={"itemIds": ["i25"]}),
        slot("d", exclude=["i01"]),
    )
    assert (len(runs), len(reads)) == (1, 1)


def count(monkeypatch: pytest.MonkeyPatch, of: Any, name: str) -> list[None]:
    """An element for each call of a function."""
    calls, original = list[None](), getattr(of, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return original(*arguments, **named)

    monkeypatch.setattr(of, name, counted)
    return calls


@pytest.mark.parametrize(
    "wrong",
    [
        {"filter": {"price": {"min": "-1"}}},
        {"filter": {"anyOf": [{"available": True}] * 50}},
        {"first": 0},
        {"first": 101},
        {"placement": ""},
        {"placement": "x" * 65},
        {"context": {"itemIds": ["x"] * 101}},
    ],
)
async def test_what_is_wrong_with_a_slot_does_not_spoil_the_others(
    ask: Ask, trained: str, wrong: dict[str, Any]
) -> None:
    answer = await asked(ask, slot("a"), {**slot("b"), **wrong}, slot("c"))
    slots = answer.data["user"]["page"]
    assert [one["key"] for one in slots] == ["a", "b", "c"]
    assert [one["recommendations"] is None for one in slots] == [False, True, False]
    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("keys", [["a", "a"], ["", "b"], ["x" * 65], ["b", "a", "b"]])
async def test_keys_are_unique_names(ask: Ask, trained: str, keys: list[str]) -> None:
    answer = await asked(ask, *map(slot, keys))
    assert (answer.data, answer.codes) == ({"user": {"page": None}}, ["BAD_USER_INPUT"])


async def test_a_page_has_at_most_twelve_slots_of_bounded_cost(ask: Ask, trained: str) -> None:
    many = [slot(f"s{number}", 1) for number in range(13)]
    assert len(await page(ask, *many[:12])) == 12
    assert (await asked(ask, *many)).codes == ["BAD_USER_INPUT"]
    assert (await asked(ask, *(slot(f"s{number}", 100) for number in range(6)))).codes == ["QUERY_TOO_COMPLEX"]


async def test_a_persons_token_sees_the_own_page_alone(ask: Ask, trained: str) -> None:
    variables = {"requests": [slot("a")]}
    own = await ask(PAGE, variables, person=ANNA, scopes=["recommendations:read"])
    assert (own.codes, len(ids(own.data["user"]["page"][0]))) == ([], 5)
    other = await ask(PAGE, {**variables, "id": "bert"}, person=ANNA, scopes=["recommendations:read"])
    assert (other.data, other.codes) == ({"user": None}, ["NOT_FOUND"])


async def test_a_cursor_of_a_slot_continues_its_list(ask: Ask, trained: str) -> None:
    filter = {"categories": ["c1"]}
    answer = await asked(ask, slot("a", 3, filter=filter))
    (first,) = answer.data["user"]["page"]
    after = first["recommendations"]["pageInfo"]["endCursor"]
    assert ids(first) + await single(ask, first=40, filter=filter, after=after) == await single(
        ask, first=40, filter=filter
    )


async def test_an_event_changes_the_next_page(ask: Ask, shop: Gateway, trained: str) -> None:
    assert "i30" in (await page(ask, slot("a", 40)))[0]
    await add_recent(shop.redis, [event("PURCHASE", "i30", days=0), event("VIEW", "i25", days=0)])
    (found,) = await page(ask, slot("a", 40))
    assert "i30" not in found
    assert found[0] == "i26"


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError("of a test"), "INTERNAL_SERVER_ERROR"), (TookTooLong(), "TIMEOUT")]
)
async def test_a_slot_that_cannot_be_made_is_an_error_and_the_others_come(
    ask: Ask, trained: str, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    original = cut_page

    def fails_for_two(*arguments: Any, **named: Any) -> Any:
        if arguments[4] == 2:  # how many items
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(page_slots, "cut_page", fails_for_two)
    answer = await asked(ask, slot("a"), slot("b", 2), slot("c"))
    assert [one["recommendations"] is None for one in answer.data["user"]["page"]] == [False, True, False]
    assert answer.codes == [code]
    assert "of a test" not in answer.messages[0]


async def test_a_person_who_cannot_be_read_in_time_gets_a_page_without_history(
    ask: Ask, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> State:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(page_slots, "READ_TIME", 0.1)
    monkeypatch.setattr(PeopleReader, "state", never)
    answer = await asked(ask, slot("a"), slot("b", context={"personalize": False}))
    slots = [one["recommendations"] for one in answer.data["user"]["page"]]
    assert [one["degraded"] for one in slots] == [["NO_HISTORY"], []]
    assert [len(one["nodes"]) for one in slots] == [5, 5]
