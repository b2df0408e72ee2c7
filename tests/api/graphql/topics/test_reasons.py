"""Reasons over GraphQL: true ones, about items that the person may see; carts, views, and shelves of one operation."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from api.graphql.topics.lists.edges import ReasonCode
from core import clock
from core.contract import read_event
from core.uploads import Offer
from db.cache import add_recent
from db.events import insert_events
from db.items import remove_items, upsert_items
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(30)]
LIST = """query ($first: Int! = 6, $context: RecommendationContext, $filter: ItemFilter, $exclude: [ID!]) {
  user(id: "anna") { recommendations(first: $first, context: $context, filter: $filter, exclude: $exclude) {
    edges { score node { id } reason { code text item { id } } } } } }"""
NEVER_GIVEN = {"AFFINITY", "SEQUENCE"}


async def store(gateway: Gateway, *lines: tuple[str, str, str, float], recent: bool = False) -> None:
    """Store events of (type, person, item, days ago), or only put them into Redis."""
    now = clock.now()
    events = [
        read_event(
            {
                "type": type, "userId": person, "itemId": item, "id": f"{type}-{person}-{item}-{days}",
                "occurredAt": (now - timedelta(days=days)).isoformat(),
            },
            source="shop",
            received_at=now,
        )
        for type, person, item, days in lines
    ]  # fmt: skip
    await (add_recent(gateway.redis, events) if recent else insert_events(gateway.pool, events))


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Thirty items in three categories that nobody bought yet."""
    now = clock.now() - timedelta(days=1)
    await upsert_items(
        gateway.pool,
        [
            {"id": id, "updated_at": now, "title": f"Item {at}", "categories": ["all", f"c{at % 3}"]}
            for at, id in enumerate(IDS)
        ],
    )
    await gateway.catalogue.refresh()
    return gateway


@pytest.fixture
async def trained(shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """The same with a model; an item's neighbour is the next one. Others bought i00 to i05 lately; anna i20 and i23."""
    await store(shop, *[("PURCHASE", f"u{who}", id, 3) for at, id in enumerate(IDS[:6]) for who in range(8 - at)])
    await store(shop, ("PURCHASE", "anna", "i20", 40), ("PURCHASE", "anna", "i23", 35))
    await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    return shop


async def edges(ask: Ask, **variables: Any) -> list[dict[str, Any]]:
    answer = await ask(LIST, variables)
    assert answer.codes == [], answer.messages
    found: list[dict[str, Any]] = answer.data["user"]["recommendations"]["edges"]
    assert [edge["score"] for edge in found] == sorted((edge["score"] for edge in found), reverse=True)
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [edge["node"]["id"] for edge in found]


def reason(found: list[dict[str, Any]], id: str) -> tuple[str, str, str]:
    """(code, id of the item that it names, text) of an item's reason."""
    given = next(edge["reason"] for edge in found if edge["node"]["id"] == id)
    return given["code"], given["item"]["id"], given["text"]


async def gone(shop: Gateway) -> None:
    await remove_items(shop.pool, ["i20"])
    await shop.catalogue.refresh()


async def sold_out(shop: Gateway) -> None:
    offers = [Offer(None, None, None, None, available=False)]
    await upsert_items(shop.pool, [{"id": "i20", "updated_at": clock.now(), "offers": offers}])
    await shop.catalogue.refresh()


async def test_a_reason_names_its_cause_while_that_may_be_seen(ask: Ask, trained: Gateway) -> None:
    assert reason(await edges(ask, first=30), "i21") == ("SIMILAR_TO", "i20", "Similar to Item 20.")


@pytest.mark.parametrize("spoil", [gone, sold_out])
async def test_a_removed_or_unavailable_cause_is_not_named(ask: Ask, trained: Gateway, spoil: Any) -> None:
    await spoil(trained)
    found = await edges(ask, first=30)
    assert reason(found, "i21") == ("BOUGHT_BY_OTHERS", "i21", "Other customers have bought Item 21.")
    assert reason(found, "i24")[:2] == ("SIMILAR_TO", "i23")
    assert "i20" not in {edge["reason"]["item"]["id"] for edge in found}


@pytest.mark.parametrize(
    "hidden", [{"exclude": ["i20"]}, {"filter": {"not": {"ids": ["i20"]}}}, {"filter": {"categories": ["c0", "c1"]}}]
)
async def test_a_cause_that_is_filtered_out_of_sight_is_not_named(
    ask: Ask, trained: Gateway, hidden: dict[str, Any]
) -> None:
    found = await edges(ask, first=30, **hidden)
    assert "i20" not in {edge["reason"]["item"]["id"] for edge in found}
    assert reason(found, "i21")[0] == "BOUGHT_BY_OTHERS"


async def test_an_item_of_the_page_is_named_although_it_is_left_out(ask: Ask, trained: Gateway) -> None:
    found = await edges(ask, context={"itemIds": ["i10"]}, filter={"categories": ["c2"]})
    assert "i10" not in ids(found)
    assert reason(found, "i11") == ("SIMILAR_TO", "i10", "Similar to Item 10.")


async def test_popular_is_what_was_bought_lately_and_the_rest_has_another_reason(ask: Ask, trained: Gateway) -> None:
    given = {edge["node"]["id"]: edge["reason"]["code"] for edge in await edges(ask, first=30)}
    assert {id for id, code in given.items() if code == "POPULAR"} == set(IDS[:6])
    assert {given[id] for id in IDS[6:20]} == {"BOUGHT_BY_OTHERS"}, "the bundle knows that they were bought"


async def test_a_shop_with_old_orders_lists_what_was_bought_most_and_says_so(ask: Ask, shop: Gateway) -> None:
    old = [("PURCHASE", f"u{who}", "i17", 300.0) for who in range(9)]
    newer = [("PURCHASE", f"u{who}", "i09", 60.0) for who in range(2)]
    await store(shop, *old, *newer, ("PURCHASE", "u1", "i28", 90))
    await shop.models.load()
    found = await edges(ask, first=30)
    assert ids(found)[:3] == ["i09", "i28", "i17"], "each purchase halves every six weeks"
    assert reason(found, "i09") == ("BOUGHT_BY_OTHERS", "i09", "Other customers have bought Item 9.")
    assert {edge["reason"]["code"] for edge in found[3:]} == {"OTHER"}


async def test_what_nobody_bought_is_spread_over_the_categories_and_not_in_the_order_of_the_alphabet(
    ask: Ask, shop: Gateway
) -> None:
    await shop.models.load()
    found = await edges(ask, first=30)
    assert sorted(ids(found)) == IDS
    assert all({int(id[1:]) % 3 for id in ids(found)[at : at + 3]} == {0, 1, 2} for at in range(0, 30, 3))
    assert ids(found) not in (IDS, IDS[::-1])
    for category in range(3):
        of = [id for id in ids(found) if int(id[1:]) % 3 == category]
        assert of not in (sorted(of), sorted(of, reverse=True))
    assert {edge["reason"]["code"] for edge in found} == {"OTHER"}, "a first upload is not new"
    assert found[0]["reason"]["text"].startswith("Also in the shop: Item ")


async def test_only_an_item_added_lately_to_an_older_catalogue_is_new(ask: Ask, shop: Gateway) -> None:
    await shop.pool.execute("UPDATE items SET created_at = now() - interval '90 days'")
    await shop.pool.execute("UPDATE items SET created_at = now() - interval '29 days' WHERE id = 'i07'")
    await shop.pool.execute("UPDATE items SET created_at = NULL WHERE id = 'i08'")
    await shop.pool.execute("UPDATE items SET created_at = now() - interval '2 days' WHERE id = 'i05'")
    await shop.catalogue.refresh()
    await store(shop, ("PURCHASE", "u1", "i05", 1))
    await shop.models.load()
    found = await edges(ask, first=30)
    assert {edge["node"]["id"]: edge["reason"]["code"] for edge in found if edge["reason"]["code"] != "OTHER"} == {
        "i05": "POPULAR",
        "i07": "NEW",
    }
    assert ids(found)[:2] == ["i05", "i07"], "the newest first of what nobody bought"
    assert reason(found, "i07")[2] == "New in the shop: Item 7."


async def test_similar_items_claim_no_more_than_is_true(ask: Ask, trained: Gateway) -> None:
    query = '{ item(id: "i15") { similar(first: 30) { edges { node { id } reason { code item { id } } } } } }'
    found = (await ask(query)).data["item"]["similar"]["edges"]
    given = {edge["node"]["id"]: (edge["reason"]["code"], edge["reason"]["item"]["id"]) for edge in found}
    assert given["i16"] == ("SIMILAR_TO", "i15")
    assert {id for id, (code, _) in given.items() if code == "POPULAR"} == set(IDS[:6])
    assert given["i29"] == ("BOUGHT_BY_OTHERS", "i29")


async def test_a_view_lifts_the_neighbours_and_not_the_item(ask: Ask, trained: Gateway) -> None:
    before = ids(await edges(ask, first=30))
    await store(trained, ("VIEW", "anna", "i12", 0), recent=True)
    found = await edges(ask, first=30)
    assert ids(found)[0] == "i13"
    assert reason(found, "i13") == ("VIEWED", "i12", "You looked at Item 12.")
    assert ids(found).index("i12") >= before.index("i12")


async def test_an_item_just_looked_at_counts_before_an_event_reports_it(ask: Ask, trained: Gateway) -> None:
    found = await edges(ask, first=30, context={"recentItemIds": ["i12"]})
    assert ids(found)[0] == "i13"
    assert reason(found, "i13")[:2] == ("VIEWED", "i12")


async def test_without_a_model_a_view_lifts_items_of_its_category(ask: Ask, shop: Gateway) -> None:
    await store(shop, *[("PURCHASE", f"u{who}", id, 3) for at, id in enumerate(IDS[:6]) for who in range(8 - at)])
    await shop.models.load()
    assert ids(await edges(ask)) == IDS[:6]
    await store(shop, ("VIEW", "anna", "i08", 0), ("PURCHASE", "anna", "i00", 9), recent=True)
    found = await edges(ask, first=30)
    assert ids(found)[:3] == ["i02", "i00", "i05"]
    assert [reason(found, id)[:2] for id in ids(found)[:3]] == [
        ("VIEWED", "i08"), ("BOUGHT_BEFORE", "i00"), ("VIEWED", "i08"),
    ]  # fmt: skip
    assert sorted(ids(found)) == IDS
    only = await edges(ask, filter={"categories": ["c1"]})
    assert {int(id[1:]) % 3 for id in ids(only)} == {1}
    assert "VIEWED" not in {edge["reason"]["code"] for edge in only}


async def test_a_view_of_an_item_newer_than_the_model_lifts_items_of_its_category(ask: Ask, trained: Gateway) -> None:
    await upsert_items(trained.pool, [{"id": "new", "updated_at": clock.now(), "categories": ["all", "c1"]}])
    await trained.catalogue.refresh()
    await store(trained, ("VIEW", "anna", "new", 0), recent=True)
    found = await edges(ask)
    assert ids(found)[0] == "i01", "the most bought one of the category"
    assert reason(found, "i01")[:2] == ("VIEWED", "new")


async def test_what_is_in_the_cart_is_in_no_list(ask: Ask, trained: Gateway) -> None:
    await store(trained, ("ADD_TO_CART", "anna", "i12", 0.2), ("ADD_TO_CART", "anna", "i14", 0.2), recent=True)
    await store(trained, ("REMOVE_FROM_CART", "anna", "i14", 0.1), ("VIEW", "anna", "i12", 0.1), recent=True)
    found = ids(await edges(ask, first=30))
    assert "i12" not in found
    assert "i14" in found


async def test_a_page_of_one_item_mixes_its_neighbours_with_the_persons_taste(ask: Ask, trained: Gateway) -> None:
    taste = ids(await edges(ask, first=30))
    found = ids(await edges(ask, context={"itemIds": ["i12"]}))
    assert found[0] == "i13"
    assert len(set(found) & set(taste[:6])) >= 4


SHELVES = """query ($first: Int! = 6) { user(id: "anna") {
  home: recommendations(placement: "home", first: $first) { ...items }
  again: recommendations(placement: "home", first: $first) { ...items }
  cart: recommendations(placement: "cart", first: $first) { ...items }
  test: recommendations(placement: "test", first: $first, preview: true) { ...items } }
  other: user(id: "bert") { home: recommendations(placement: "cart", first: $first) { ...items } }
}
fragment items on RecommendationConnection { edges { score node { id } } pageInfo { hasNextPage endCursor } }"""


async def test_two_shelves_of_an_operation_do_not_repeat_each_other(ask: Ask, trained: Gateway) -> None:
    answer = await ask(SHELVES)
    assert answer.codes == []
    anna = {name: ids(shelf["edges"]) for name, shelf in answer.data["user"].items()}
    whole = ids(await edges(ask, first=30))
    assert anna["home"] == anna["again"] == anna["test"] == whole[:6]
    assert anna["cart"] == whole[6:12]
    assert len(answer.data["other"]["home"]["edges"]) == 6
    page = """query ($after: String) { user(id: "anna") {
      recommendations(placement: "cart", after: $after) { nodes { id } } } }"""
    after = answer.data["user"]["cart"]["pageInfo"]["endCursor"]
    rest = [node["id"] for node in (await ask(page, {"after": after})).data["user"]["recommendations"]["nodes"]]
    assert not set(rest) & set(anna["cart"])


async def test_a_shelf_repeats_items_rather_than_being_short(ask: Ask, trained: Gateway) -> None:
    answer = await ask(SHELVES, {"first": 20})
    home, cart = (ids(answer.data["user"][name]["edges"]) for name in ("home", "cart"))
    whole = ids(await edges(ask, first=30))
    assert len(home) == len(cart) == 20
    assert cart == [*whole[20:], *whole[: 20 - len(whole[20:])]]


async def test_the_list_of_an_items_page_does_not_repeat_its_similar_items(ask: Ask, trained: Gateway) -> None:
    query = """{ item(id: "i12") { similar(first: 6) { edges { node { id } } } }
      user(id: "anna") { recommendations(first: 6, context: {itemIds: ["i12"]}) { edges { node { id } } } } }"""
    data = (await ask(query)).data
    similar, listed = ids(data["item"]["similar"]["edges"]), ids(data["user"]["recommendations"]["edges"])
    assert not set(similar) & set(listed)
    assert len(similar) == len(listed) == 6


async def test_codes_that_no_list_gives_are_deprecated_with_a_date(ask: Ask) -> None:
    query = '{ __type(name: "ReasonCode") { enumValues(includeDeprecated: true) { name deprecationReason } } }'
    values = (await ask(query)).data["__type"]["enumValues"]
    assert {value["name"] for value in values} == {code.name for code in ReasonCode}
    marked = {value["name"]: value["deprecationReason"] for value in values if value["deprecationReason"]}
    assert set(marked) == NEVER_GIVEN
    assert all(why.startswith("2026-") for why in marked.values())
