"""A list that is asked for again is sent from its text, which says what is true now."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from db.events import insert_events
from db.items import upsert_items
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number}" for number in range(12)]
LIST = """query ($id: ID!) { user(id: $id) { recommendations(first: 12) {
  impressionId edges { rank reason { code text } node { id title } } } } }"""


def bought(person: str, item: str) -> Event:
    now = clock.now()
    raw = {"type": "PURCHASE", "itemId": item, "userId": person, "id": f"{person}-{item}"}
    raw["occurredAt"] = (now - timedelta(days=10)).isoformat()
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Items that Anna and Ben bought, and a model of them."""
    changed = clock.now() - timedelta(days=1)
    await upsert_items(gateway.pool, [{"id": id, "updated_at": changed, "title": f"Item {id}"} for id in IDS])
    await gateway.catalogue.refresh()
    await insert_events(gateway.pool, [bought("anna", "i5"), bought("ben", "i6")])
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


async def test_a_list_that_is_asked_for_again_says_what_is_true_now(ask: Ask, shop: Gateway) -> None:
    async def listed(person: str = "anna") -> Any:
        return (await ask(LIST, {"id": person})).data["user"]["recommendations"]

    first = await listed()
    again = [await listed() for _ in range(4)]  # from the third on by a plan, then from the text that is kept
    assert len(shop.models.lists.texts) == 1
    assert [one["edges"] for one in again] == [first["edges"]] * 4
    assert len({one["impressionId"] for one in [first, *again]}) == 5
    assert (await listed("ben"))["edges"] != first["edges"]
    changed = first["edges"][0]["node"]["id"]
    await upsert_items(shop.pool, [{"id": changed, "updated_at": clock.now(), "title": "Another title"}])
    await shop.catalogue.refresh()
    assert [(await listed())["edges"][0]["node"]["title"] for _ in range(3)] == ["Another title"] * 3
    shop.forget([Person("user", "anna")])
    assert len(shop.models.lists.texts) == 0


SAID = """query ($id: ID!, $language: String, $market: ID) { user(id: $id) {
  recommendations(first: 5, market: $market) {
  edges { rank reason { text(language: $language) events { type } } node { id available } } } } }"""


async def test_a_text_is_kept_for_its_language_market_and_scopes(ask: Ask, shop: Gateway) -> None:
    wholes = [["recommendations:read", "profiles:read"], ["recommendations:read"]]
    asked = [(language, market, scopes) for language in ("en", "de") for market in ("AT", None) for scopes in wholes]
    expected: list[Any] = []
    for _ in range(4):
        answers = [
            await ask(SAID, {"id": "anna", "language": language, "market": market}, scopes=scopes)
            for language, market, scopes in asked
        ]
        found = [(answer.data, answer.codes) for answer in answers]
        expected = expected or found
        assert found == expected
    assert expected[0] != expected[4], "the languages differ"
    assert expected[0][1] != expected[1][1], "the scopes differ"
