"""Items over GraphQL: fields, filters, pages, patches."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.gateway import Gateway
from tests.fixtures.gateway import Ask

UPSERT = """mutation ($items: [ItemInput!]!) { upsertItems(items: $items) {
  accepted rejected results { index id outcome code field message } } }"""
REMOVE = "mutation ($ids: [ID!]!) { removeItems(ids: $ids) { accepted results { id outcome code } } }"
ITEM = """query ($id: ID!, $market: ID) { item(id: $id) {
  nodeId id groupId title description categories brand image { url } url appUrl attributes
  price(market: $market) { amount currency } listPrice(market: $market) { amount } available(market: $market)
  scent: attribute(key: "scent") pieces: attribute(key: "pieces") uses: attribute(key: "uses") none: attribute(key: "x")
} }"""
SOAP = {
    "id": "soap",
    "updatedAt": "2026-01-05T12:00:00Z",
    "groupId": "soaps",
    "title": "Soap",
    "description": "Smells of roses.",
    "categories": ["home", "bath"],
    "brand": "Clean",
    "imageUrl": "https://img.example/soap.png",
    "url": "https://shop.example/soap",
    "appUrl": "shop://soap",
    "attributes": {"scent": "rose", "pieces": 3, "uses": ["hands", "face"]},
    "offers": [
        {"price": "2.50", "listPrice": "3.00", "currency": "EUR"},
        {"market": "uk", "price": "2.10", "currency": "GBP", "available": False},
    ],
}


@pytest.fixture
async def soap(ask: Ask) -> None:
    answer = await ask(UPSERT, {"items": [SOAP]})
    assert answer.data["upsertItems"]["accepted"] == 1


async def test_an_item_is_returned_as_it_was_sent(ask: Ask, soap: None) -> None:
    item = (await ask(ITEM, {"id": "soap"})).data["item"]
    assert item.pop("nodeId")
    assert item == {
        **{key: SOAP[key] for key in ("id", "groupId", "title", "description", "categories", "brand", "url", "appUrl")},
        "image": {"url": SOAP["imageUrl"]},
        "attributes": SOAP["attributes"],
        "price": {"amount": "2.50", "currency": "EUR"},
        "listPrice": {"amount": "3.00"},
        "available": True,
        "scent": "rose",
        "pieces": "3",
        "uses": "hands, face",
        "none": None,
    }


@pytest.mark.parametrize(("market", "amount", "available"), [("uk", "2.10", False), ("elsewhere", "2.50", True)])
async def test_a_market_has_its_own_offer(ask: Ask, soap: None, market: str, amount: str, available: bool) -> None:
    item = (await ask(ITEM, {"id": "soap", "market": market})).data["item"]
    assert (item["price"]["amount"], item["available"]) == (amount, available)


async def test_a_patch_keeps_fields_left_out_and_clears_fields_set_to_null(ask: Ask, soap: None) -> None:
    patch = {"id": "soap", "updatedAt": "2026-01-06T00:00:00Z", "title": "Rose soap", "brand": None, "offers": None}
    await ask(UPSERT, {"items": [patch]})
    item = (await ask(ITEM, {"id": "soap"})).data["item"]
    assert item["title"] == "Rose soap"
    assert (item["brand"], item["price"], item["available"]) == (None, None, True)
    assert (item["description"], item["categories"]) == (SOAP["description"], SOAP["categories"])


async def test_a_patch_keeps_offers_and_attributes_that_it_does_not_name(ask: Ask, soap: None) -> None:
    sold_out = {"id": "soap", "available": False, "attributes": {"scent": "lime", "pieces": None}}
    await ask(UPSERT, {"items": [sold_out, {"id": "soap", "market": "uk", "price": {"amount": "2.20"}}]})
    item = (await ask(ITEM, {"id": "soap"})).data["item"]
    assert (item["price"], item["listPrice"], item["available"]) == (
        {"amount": "2.50", "currency": "EUR"}, {"amount": "3.00"}, False,
    )  # fmt: skip
    assert item["attributes"] == {"scent": "lime", "uses": ["hands", "face"]}
    uk = (await ask(ITEM, {"id": "soap", "market": "uk"})).data["item"]
    assert (uk["price"], uk["available"]) == ({"amount": "2.20", "currency": "GBP"}, False)


async def test_an_item_may_be_written_as_it_was_read(ask: Ask, soap: None) -> None:
    query = """query ($id: ID!) { item(id: $id) { title categories attributes image { url } price(market: "uk") { amount
      currency } listPrice(market: "uk") { amount currency } available(market: "uk") } }"""
    read = (await ask(query, {"id": "soap"})).data["item"]
    await ask(UPSERT, {"items": [{"id": "copy", "market": "uk", **read}]})
    assert (await ask(query, {"id": "copy"})).data["item"] == read
    literal = '{ upsertItems(items: {id: "copy", market: "uk", price: {amount: "9", currency: "EUR"}}) { accepted } }'
    assert (await ask(f"mutation {literal}")).data["upsertItems"] == {"accepted": 1}
    assert (await ask(query, {"id": "copy"})).data["item"]["price"] == {"amount": "9", "currency": "EUR"}


async def test_patches_that_grow_an_item_too_large_are_rejected_with_their_field(ask: Ask, soap: None) -> None:
    grown = [{"id": "soap", "attributes": {key: "x" * 16_000}} for key in "abcd"]
    assert (await ask(UPSERT, {"items": grown})).data["upsertItems"]["accepted"] == 4
    payload = (await ask(UPSERT, {"items": [{**grown[0], "attributes": {"e": "x" * 16_000}}]})).data["upsertItems"]
    (result,) = payload["results"]
    assert (result["outcome"], result["code"], result["field"]) == ("REJECTED", "BAD_USER_INPUT", ["attributes"])


async def test_an_older_patch_is_a_conflict(ask: Ask, soap: None) -> None:
    patch = {"id": "soap", "updatedAt": "2026-01-04T00:00:00Z", "title": "Old"}
    (result,) = (await ask(UPSERT, {"items": [patch]})).data["upsertItems"]["results"]
    assert (result["outcome"], result["code"], result["field"]) == ("CONFLICT", "STALE", ["updatedAt"])
    assert (await ask(ITEM, {"id": "soap"})).data["item"]["title"] == "Soap"


BAD = {
    "a NUL in the id": ({"id": "a\0b"}, ["id"]),
    "an empty id": ({"id": ""}, ["id"]),
    "an id of ten thousand characters": ({"id": "x" * 10_000}, ["id"]),
    "a NUL in the title": ({"id": "a", "title": "\0"}, ["title"]),
    "a script for a link": ({"id": "a", "url": "javascript:alert(1)"}, ["url"]),
    "a script for an app link": ({"id": "a", "appUrl": "javascript://%0aalert(1)"}, ["appUrl"]),
    "a negative price": ({"id": "a", "offers": [{"price": "-1"}]}, ["offers", "0", "price"]),
    "a price that is no number": ({"id": "a", "offers": [{"price": "NaN"}]}, ["offers", "0", "price"]),
    "a currency nobody uses": ({"id": "a", "offers": [{"price": "1", "currency": "XXY"}]}, ["offers", "0", "currency"]),
    "a short price below zero": ({"id": "a", "price": {"amount": "-1"}}, ["price", "amount"]),
    "a short currency nobody uses": ({"id": "a", "currency": "XXY"}, ["currency"]),
    "a picture that is a script": ({"id": "a", "image": {"url": "javascript:alert(1)"}}, ["image", "url"]),
    "two offers for a market": ({"id": "a", "offers": [{}, {}]}, ["offers"]),
    "attributes that are a list": ({"id": "a", "attributes": [1]}, ["attributes"]),
    "attributes with a NUL": ({"id": "a", "attributes": {"x": "\0"}}, ["attributes"]),
    "attributes of a megabyte": ({"id": "a", "attributes": {"x": "y" * 2**20}}, ["attributes"]),
    "an update from next year": ({"id": "a", "updatedAt": "2999-01-01T00:00:00Z"}, ["updatedAt"]),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_wrong_patch_is_rejected_with_its_field_and_the_others_are_stored(ask: Ask, name: str) -> None:
    bad, field = BAD[name]
    payload = (await ask(UPSERT, {"items": [bad, {"id": "fine"}]})).data["upsertItems"]
    assert (payload["accepted"], payload["rejected"]) == (1, 1)
    first, second = payload["results"]
    assert (first["outcome"], first["code"], first["field"]) == ("REJECTED", "BAD_USER_INPUT", field)
    assert len(first["message"]) < 300
    assert (second["id"], second["outcome"]) == ("fine", "ACCEPTED")


async def test_an_emoji_is_an_id(ask: Ask) -> None:
    await ask(UPSERT, {"items": [{"id": "🥛", "title": "Milk"}]})
    assert (await ask(ITEM, {"id": "🥛"})).data["item"]["title"] == "Milk"


async def test_a_call_with_more_than_500_items_is_refused(ask: Ask) -> None:
    answer = await ask(UPSERT, {"items": [{"id": f"i{number}"} for number in range(501)]})
    assert (answer.data, answer.codes) == (None, ["PAYLOAD_TOO_LARGE"])


async def test_an_empty_batch_is_accepted(ask: Ask) -> None:
    assert (await ask(UPSERT, {"items": []})).data["upsertItems"] == {"accepted": 0, "rejected": 0, "results": []}


async def test_while_postgres_is_unavailable_each_valid_item_is_a_retry(ask: Ask, gateway: Gateway) -> None:
    await gateway.pool.close()
    answer = await ask(UPSERT, {"items": [{"id": "a"}, {"id": ""}]})
    assert [result["outcome"] for result in answer.data["upsertItems"]["results"]] == ["RETRY", "REJECTED"]


async def test_a_removed_item_is_not_found_at_once(ask: Ask, soap: None) -> None:
    results = (await ask(REMOVE, {"ids": ["soap", "nothing", "a\0"]})).data["removeItems"]["results"]
    assert [(result["outcome"], result["code"]) for result in results] == [
        ("ACCEPTED", None), ("REJECTED", "NOT_FOUND"), ("REJECTED", "NOT_FOUND"),
    ]  # fmt: skip
    assert (await ask(ITEM, {"id": "soap"})).data["item"] is None


@pytest.mark.parametrize(
    ("id", "codes"),
    [("nothing", []), ("", ["BAD_USER_INPUT"]), ("a\0", ["BAD_USER_INPUT"]), ("x" * 10_000, ["BAD_USER_INPUT"])],
)
async def test_an_unknown_item_is_null(ask: Ask, id: str, codes: list[str]) -> None:
    answer = await ask(ITEM, {"id": id})
    assert (answer.data["item"], answer.codes) == (None, codes)


ITEMS = """query ($ids: [ID!], $filter: ItemFilter, $first: Int! = 20, $after: String) {
  items(ids: $ids, filter: $filter, first: $first, after: $after) {
    edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@pytest.fixture
async def shelf(ask: Ask) -> list[str]:
    ids = [f"i{number}" for number in range(7)]
    await ask(UPSERT, {"items": [{"id": id, "categories": [f"c{at % 2}"]} for at, id in enumerate(ids)]})
    return ids


async def pages(ask: Ask, **variables: Any) -> list[list[str]]:
    found, after = [], None
    while True:
        items = (await ask(ITEMS, {**variables, "after": after})).data["items"]
        found.append([node["id"] for node in items["nodes"]])
        assert [edge["node"]["id"] for edge in items["edges"]] == found[-1]
        if not items["pageInfo"]["hasNextPage"]:
            return found
        after = items["pageInfo"]["endCursor"]


async def test_all_items_are_paged_each_once(ask: Ask, shelf: list[str]) -> None:
    assert await pages(ask, first=3) == [shelf[:3], shelf[3:6], shelf[6:]]


async def test_items_by_id_have_the_order_of_the_ids(ask: Ask, shelf: list[str]) -> None:
    assert await pages(ask, ids=["i5", "nothing", "i1", "i5", "i3"], first=2) == [["i5", "i1"], ["i3"]]


async def test_a_filter_applies_to_all_pages(ask: Ask, shelf: list[str]) -> None:
    assert await pages(ask, filter={"categories": ["c1"]}, first=2) == [["i1", "i3"], ["i5"]]


async def test_the_next_page_continues_when_items_were_removed(ask: Ask, shelf: list[str]) -> None:
    first = (await ask(ITEMS, {"first": 3})).data["items"]
    await ask(REMOVE, {"ids": ["i0", "i2"]})
    rest = (await ask(ITEMS, {"first": 3, "after": first["pageInfo"]["endCursor"]})).data["items"]
    assert [node["id"] for node in rest["nodes"]] == ["i3", "i4", "i5"]


@pytest.mark.parametrize("variables", [{"first": 0}, {"first": 101}, {"first": -1}, {"after": "nonsense"}])
async def test_a_list_out_of_bounds_is_bad_input(ask: Ask, shelf: list[str], variables: dict[str, Any]) -> None:
    answer = await ask(ITEMS, variables)
    assert (answer.data["items"], answer.codes) == (None, ["BAD_USER_INPUT"])


async def test_more_than_500_ids_are_bad_input(ask: Ask) -> None:
    answer = await ask(ITEMS, {"ids": ["x"] * 501})
    assert (answer.data, answer.codes) == (None, ["BAD_USER_INPUT"])


async def test_a_filter_is_bounded_in_depth_and_size(ask: Ask) -> None:
    deep: dict[str, Any] = {"brands": ["x"]}
    for _ in range(4):
        deep = {"not": deep}
    refused: list[dict[str, Any]] = [
        deep,
        {"categories": ["x"] * 600},
        {"anyOf": [{}] * 50},
        {"anyOf": [{"anyOf": [{}] * 12}] * 4},
        {"price": {"min": "NaN"}},
        {"not": {"price": {"max": "Infinity"}}},
    ]
    for wanted in refused:
        assert (await ask(ITEMS, {"filter": wanted})).codes == ["BAD_USER_INPUT"]
    assert (await ask(ITEMS, {"filter": {"anyOf": [{}] * 49}})).codes == []


async def test_items_need_their_scopes(ask: Ask, soap: None) -> None:
    none: list[str] = []
    assert (await ask(ITEM, {"id": "soap"}, scopes=none)).codes == ["FORBIDDEN"]
    assert (await ask(ITEMS, {}, scopes=none)).codes == ["FORBIDDEN"]
    assert (await ask(UPSERT, {"items": [SOAP]}, scopes=["catalog:read"])).codes == ["FORBIDDEN"]
    assert (await ask(REMOVE, {"ids": ["soap"]}, scopes=["catalog:read"])).codes == ["FORBIDDEN"]
    similar = 'query { item(id: "soap") { id similar { nodes { id } } } }'
    answer = await ask(similar, scopes=["catalog:read"])
    assert (answer.data["item"], answer.codes) == ({"id": "soap", "similar": None}, ["FORBIDDEN"])


async def test_a_patch_without_updated_at_has_the_servers_time(ask: Ask, gateway: Gateway) -> None:
    await ask(UPSERT, {"items": [{"id": "a"}]})
    stored = await gateway.pool.fetchval("SELECT updated_at FROM items WHERE id = 'a'")
    assert abs((datetime.now(UTC) - stored).total_seconds()) < 60
