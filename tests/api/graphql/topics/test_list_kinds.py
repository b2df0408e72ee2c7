"""Kinds of lists over GraphQL: by the request or the placement, in lists, pages and explanations, for guests too."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import read_event
from db.events import insert_events
from db.items import upsert_items
from engine.placements.settings import ListKind
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = ["a", "b", "c", "d", "e", "f"]
LIST = """query ($list: ListKind, $context: RecommendationContext) { person: visitor(anonymousId: "g1") {
  recommendations(placement: "home", list: $list, context: $context) { impressionId edges {
    probability node { id } reason { code text item { id } } } }
  page(requests: [{key: "one", placement: "home", list: $list, context: $context}, {key: "two", placement: "rest"}]) {
    recommendations { impressionId edges { probability node { id } reason { code text item { id } } } } } } }"""


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Six items; a guest looked at b, then at c, and bought d twice."""
    now = clock.now()
    items = [{"id": id, "updated_at": now, "title": id.upper(), "categories": ["letters"]} for id in IDS]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    events = [("VIEW", "b", 3), ("VIEW", "c", 2), ("PURCHASE", "d", 30), ("PURCHASE", "d", 15)]
    raws = [
        {"type": type, "itemId": item, "anonymousId": "g1", "id": str(at), "orderId": str(at)}
        | {"occurredAt": (now - timedelta(days=days)).isoformat()}
        for at, (type, item, days) in enumerate(events)
    ]
    for raw in raws:
        if raw["type"] == "VIEW":
            del raw["orderId"]
    await insert_events(gateway.pool, [read_event(raw, source="shop", received_at=now) for raw in raws])
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


async def edges_of(ask: Ask, **variables: Any) -> list[Any]:
    """The edges of a list; as a slot of a page it is the same, and the slot beside it has none of its items."""
    answer = await ask(LIST, variables)
    assert answer.codes == [], answer.messages
    alone, (slot, rest) = answer.data["person"]["recommendations"], answer.data["person"]["page"]
    assert alone["impressionId"] and slot["recommendations"]["impressionId"]
    assert slot["recommendations"]["edges"] == alone["edges"]
    ids = [edge["node"]["id"] for edge in alone["edges"]]
    assert not set(ids) & {edge["node"]["id"] for edge in rest["recommendations"]["edges"]}
    return list(alone["edges"])


async def test_each_kind_says_why_its_items_are_listed(ask: Ask, shop: Gateway) -> None:
    viewed = await edges_of(ask, list="RECENTLY_VIEWED")
    assert [(edge["node"]["id"], edge["reason"]["code"], edge["reason"]["text"]) for edge in viewed[:2]] == [
        ("c", "VIEWED_BEFORE", "You looked at C."), ("b", "VIEWED_BEFORE", "You looked at B."),
    ]  # fmt: skip
    assert {edge["reason"]["code"] for edge in viewed[2:]} <= {"POPULAR", "BOUGHT_BY_OTHERS", "OTHER"}
    assert {edge["probability"] for edge in viewed} == {None}
    again = await edges_of(ask, list="BUY_AGAIN")
    assert (again[0]["node"]["id"], again[0]["reason"]["text"]) == ("d", "You usually buy D every 15 days.")
    together = await edges_of(ask, list="BOUGHT_TOGETHER", context={"itemIds": ["a"]})
    assert (together[0]["node"]["id"], together[0]["reason"]["text"]) == ("c", "Often bought together with A.")
    instead = await edges_of(ask, list="ALTERNATIVES", context={"itemIds": ["a"]})
    assert (instead[0]["node"]["id"], instead[0]["reason"]["item"]) == ("b", {"id": "a"})
    assert {edge["node"]["id"] for edge in await edges_of(ask, list="NEW_FOR_YOU")} == {"a", "e", "f"}
    assert await edges_of(ask, list="ON_SALE") == []


@pytest.mark.parametrize("kind", list(ListKind))
async def test_the_placement_says_what_is_listed_unless_the_request_does(
    ask: Ask, shop: Gateway, kind: ListKind
) -> None:
    context = {"itemIds": ["a"]}
    asked, usual = await edges_of(ask, list=kind, context=context), await edges_of(ask, context=context)
    change = 'mutation ($list: ListKind) { upsertPlacement(input: {id: "home", list: $list}) { placement { list } } }'
    saved = await ask(change, {"list": kind})
    assert saved.data["upsertPlacement"]["placement"] == {"list": kind}
    assert await edges_of(ask, context=context) == asked
    assert await edges_of(ask, list="PERSONAL", context=context) == usual


async def test_an_explanation_follows_the_kind_and_a_setting_that_leaves_nothing_is_refused(
    ask: Ask, shop: Gateway
) -> None:
    query = """query ($item: ID!, $list: ListKind) { explain(userId: "nobody", itemId: $item, list: $list, first: 1) {
      outcome rule summary sources { source } parts { logit } } }"""
    found = (await ask(query, {"item": "a", "list": "ON_SALE"})).data["explain"]
    assert (found["outcome"], found["rule"]) == ("REMOVED", "NOT_ON_SALE")
    assert found["summary"] == "Not in the list: it is not on sale: its price is not below its list price."
    found = [(await ask(query, {"item": id, "list": "BUY_AGAIN"})).data["explain"] for id in IDS]
    assert sorted(one["outcome"] for one in found) == ["NOT_A_CANDIDATE"] * 5 + ["SHOWN"]
    assert {one["parts"] for one in found} == {None}
    change = """mutation { upsertPlacement(input: {id: "home", list: BUY_AGAIN, repeat: HIDDEN}) {
      placement { id } userErrors { field message } } }"""
    (error,) = (await ask(change)).data["upsertPlacement"]["userErrors"]
    assert error == {"field": ["repeat"], "message": "repeat HIDDEN leaves nothing of the list BUY_AGAIN"}
