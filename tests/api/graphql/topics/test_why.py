"""What a person is told: their interests with the events behind them, why they see an item, and how to stop it."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from db.events import insert_events
from db.items import upsert_items
from tests.fixtures.gateway import Ask, MakeBundle, Serve

ANNA = Person("user", "anna")
ITEMS = {"tea-1": "Ours", "tea-2": "Ours", "mug-1": "Theirs", "mug-2": "Theirs", "hat-1": None, "new": None}
INTERESTS = """query ($by: AffinityDimension! = CATEGORY, $first: Int! = 10, $language: String) { me {
  interests(by: $by, first: $first) { key share text(language: $language) because { type itemId } } } }"""
WHY = """query ($item: ID!, $placement: String, $impression: ID, $language: String) { me {
  whyDoISeeThis(itemId: $item, placement: $placement, impressionId: $impression) {
    item { id } placement rank hidden placedByShop text(language: $language)
    reason { code text(language: $language) events { type itemId } }
    waysToStop { action category text(language: $language) } } } }"""


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Six items; Anna bought tea twice and looked at a mug and, the day before, at a hat."""
    now = clock.now()
    items = [
        {"id": id, "updated_at": now, "title": id.upper(), "categories": ["all", id[:3]], "brand": brand}
        for id, brand in ITEMS.items()
    ]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    events = [("PURCHASE", "tea-1", 30), ("PURCHASE", "tea-1", 15), ("VIEW", "mug-1", 1), ("VIEW", "hat-1", 2)]
    raws = [
        {"type": type, "itemId": item, "userId": "anna", "id": str(at)}
        | {"occurredAt": (now - timedelta(days=days)).isoformat()}
        for at, (type, item, days) in enumerate(events)
    ]
    await insert_events(gateway.pool, [read_event(raw, source="shop", received_at=now) for raw in raws])
    await serving(gateway.pool, make_bundle(gateway.catalogue, list(ITEMS)))
    await gateway.models.load()
    return gateway


async def asked(ask: Ask, query: str, person: Person = ANNA, **variables: Any) -> Any:
    answer = await ask(query, variables, person=person)
    assert answer.codes == [], answer.messages
    (found,) = answer.data["me"].values()
    return found


async def change(ask: Ask, change: str) -> None:
    answer = await ask(f"mutation {{ {change} {{ userErrors {{ code }} }} }}", person=ANNA)
    assert [payload["userErrors"] for payload in answer.data.values()] == [[]]


async def test_interests_are_what_is_bought_and_then_what_was_looked_at(ask: Ask, shop: Gateway) -> None:
    tea, mug, hat = await asked(ask, INTERESTS)
    bought = {"type": "PURCHASE", "itemId": "tea-1"}
    assert tea == {"key": "tea", "share": 1.0, "text": "You often choose tea.", "because": [bought, bought]}
    looked = {"key": "mug", "share": None, "text": "You have lately looked at mug."}
    assert mug == {**looked, "because": [{"type": "VIEW", "itemId": "mug-1"}]}
    assert hat["key"] == "hat"
    brands = await asked(ask, INTERESTS, by="BRAND", language="de-AT")
    assert [(one["key"], one["text"]) for one in brands] == [
        ("Ours", "Sie wählen oft Ours."),
        ("Theirs", "Sie haben sich zuletzt Theirs angesehen."),
    ]
    assert [one["key"] for one in await asked(ask, INTERESTS, first=2)] == ["tea", "mug"]


async def test_interests_follow_what_the_person_hides_and_are_none_during_a_pause(ask: Ask, shop: Gateway) -> None:
    await change(ask, 'hideCategory(category: "tea")')
    await change(ask, 'hideItem(itemId: "mug-1")')
    assert [one["key"] for one in await asked(ask, INTERESTS)] == ["hat"]
    assert [one["key"] for one in await asked(ask, INTERESTS, first=1)] == ["hat"]
    assert await asked(ask, INTERESTS, by="BRAND") == [], "tea was all of Ours, the mug of Theirs"
    await change(ask, "pausePersonalization(paused: true)")
    assert await asked(ask, INTERESTS) == []
    assert await asked(ask, INTERESTS, person=Person("guest", "stranger")) == []


async def test_a_person_is_told_why_they_see_an_item_and_how_to_stop_it(ask: Ask, shop: Gateway) -> None:
    why = await asked(ask, WHY, item="tea-1")
    bought = {"type": "PURCHASE", "itemId": "tea-1"}
    assert (why["item"], why["placement"], why["hidden"], why["placedByShop"]) == (
        {"id": "tea-1"},
        "home",
        False,
        False,
    )
    assert why["reason"]["code"] == "DUE_AGAIN" and why["reason"]["events"] == [bought, bought]
    assert why["text"] == why["reason"]["text"] == "You usually buy TEA-1 every 15 days."
    assert why["waysToStop"] == [
        {"action": "HIDE_ITEM", "category": None, "text": "Hide TEA-1."},
        {"action": "HIDE_CATEGORY", "category": "tea", "text": "Hide everything of the category tea."},
        {"action": "PAUSE", "category": None, "text": "Pause personal lists."},
    ]
    listed = "query { me { recommendations(first: 100, preview: true) { edges { rank node { id } } } } }"
    edges = (await asked(ask, listed))["edges"]
    for edge in edges:
        assert (await asked(ask, WHY, item=edge["node"]["id"]))["rank"] == edge["rank"]


async def test_what_is_hidden_is_said_to_be_so_and_what_is_not_listed_too(ask: Ask, shop: Gateway) -> None:
    await change(ask, 'hideItem(itemId: "tea-1")')
    await change(ask, 'hideCategory(category: "hat")')
    for item in ("tea-1", "hat-1"):
        why = await asked(ask, WHY, item=item, language="pl")
        assert (why["hidden"], why["rank"], why["reason"], why["waysToStop"]) == (True, None, None, [])
        assert why["text"] == "Ten produkt został przez Ciebie ukryty."
    rule = 'upsertRule(input: {id: "none", kind: EXCLUDE, filter: {ids: ["mug-2"]}}) { rule { id } }'
    assert (await ask(f"mutation {{ {rule} }}")).codes == []
    await shop.rules.refresh()
    why = await asked(ask, WHY, item="mug-2")
    assert (why["hidden"], why["rank"], why["text"]) == (False, None, "It is not in this list now.")
    assert await asked(ask, WHY, item="unknown") is None


@pytest.mark.parametrize(
    "rule",
    [
        'kind: PIN, itemId: "new", position: 2',
        'kind: BOOST, factor: 3, filter: {ids: ["new"]}',
        'kind: SLOTS, count: 1, of: 2, filter: {ids: ["new"]}',
    ],
)
async def test_a_person_is_told_that_the_shop_placed_an_item_but_no_name_of_a_rule(
    ask: Ask, shop: Gateway, rule: str
) -> None:
    upsert = f'upsertRule(input: {{id: "secret-plan", {rule}, when: {{placements: ["cart"]}}}}) {{ rule {{ id }} }}'
    assert (await ask(f"mutation {{ {upsert} }}")).codes == []
    await shop.rules.refresh()
    assert not (await asked(ask, WHY, item="new"))["placedByShop"]
    why = await asked(ask, WHY, item="new", placement="cart", language="fr")
    assert why["placedByShop"] and why["text"].endswith("La boutique lui a donné une place ici.")
    assert "secret-plan" not in str(why)
    assert not (await asked(ask, WHY, item="tea-2", placement="cart"))["placedByShop"]


async def test_an_impression_says_which_list_it_was(ask: Ask, shop: Gateway) -> None:
    listed = 'query { me { recommendations(placement: "cart") { impressionId } } }'
    impression = (await asked(ask, listed))["impressionId"]
    assert (await asked(ask, WHY, item="tea-1", impression=impression))["placement"] == "cart"
    assert (await asked(ask, WHY, item="tea-1", impression=impression, placement="cart"))["placement"] == "cart"
    for wrong in ({"impression": "x"}, {"impression": impression, "placement": "home"}, {"item": ""}):
        answer = await ask(WHY, {"item": "tea-1", **wrong}, person=ANNA)
        assert answer.codes == ["BAD_USER_INPUT"], wrong


async def test_during_a_pause_nothing_of_the_person_is_said(ask: Ask, shop: Gateway) -> None:
    await change(ask, "pausePersonalization(paused: true)")
    why = await asked(ask, WHY, item="tea-1")
    assert why["reason"]["code"] not in ("BOUGHT_BEFORE", "DUE_AGAIN", "VIEWED", "SIMILAR_TO")
    assert [one["action"] for one in why["waysToStop"]] == ["HIDE_ITEM", "HIDE_CATEGORY"]
