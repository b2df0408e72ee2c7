"""What all lists of items take: price ranges, the language of reasons, one market for a list; and `totalCount`."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import read_event
from core.uploads import Offer
from db.events import insert_events
from db.items import upsert_items
from engine.reasons.texts import ReasonTexts
from tests.fixtures.gateway import Ask

IDS = [f"i{number:02}" for number in range(40)]


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Forty items, of which i00 was bought by somebody just now."""
    now = clock.now()
    await upsert_items(
        gateway.pool,
        [{"id": id, "updated_at": now - timedelta(days=1), "title": f"Item {n}"} for n, id in enumerate(IDS)],
    )
    await gateway.catalogue.refresh()
    raw = {"type": "PURCHASE", "itemId": "i00", "userId": "bert", "id": "e1", "occurredAt": now.isoformat()}
    await insert_events(gateway.pool, [read_event(raw, source="shop", received_at=now)])
    return gateway


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ('{min: "5", max: "4.99"}', "No price is in this range: min is greater than max."),
        ('{min: "-1"}', "The bounds of a price range must not be negative."),
        ('{max: "-0.01"}', "The bounds of a price range must not be negative."),
    ],
)
async def test_a_price_range_that_no_price_is_in_is_refused(shop: Gateway, ask: Ask, price: str, message: str) -> None:
    inside = f"{{anyOf: [{{not: {{price: {price}}}}}]}}"
    for filter in (f"{{price: {price}}}", inside):
        answer = await ask(f"{{ items(filter: {filter}) {{ nodes {{ id }} }} }}")
        assert (answer.codes, answer.messages) == (["BAD_USER_INPUT"], [message])
    answer = await ask('{ items(filter: {price: {min: 5, max: "5.00"}}) { nodes { id } } }')
    assert answer.codes == []


async def test_a_price_with_a_fraction_that_is_not_a_string_is_refused_with_the_form_it_needs(
    shop: Gateway, ask: Ask
) -> None:
    answer = await ask("{ items(filter: {price: {max: 4.99}}) { nodes { id } } }")
    assert answer.messages == [
        'This is not a Decimal (a string of plain digits, such as "12.90", or a whole number): 4.99'
    ]


async def test_a_reason_is_said_in_the_language_asked(ask: Ask, shop: Gateway, tmp_path: Path) -> None:
    query = """query ($language: String) { trending { edges { reason { german: text(language: "de-AT")
      text finnish: text(language: $language) } } } }"""
    reason = (await ask(query, {"language": "fi"})).data["trending"]["edges"][0]["reason"]
    assert reason["german"] == "Wird gerade viel gekauft: Item 0."
    assert reason["text"] == reason["finnish"] == "Many people are buying Item 0."
    path = tmp_path / "reasons.toml"
    path.write_text('[fi]\nTRENDING = "Suosittu: {item}"\n', encoding="utf-8")
    shop.placements.texts = ReasonTexts.with_file(path)
    reason = (await ask(query, {"language": "fi"})).data["trending"]["edges"][0]["reason"]
    assert reason["finnish"] == "Suosittu: Item 0"


SOLD = 'nodes { id price { amount currency } available de: price(market: "DE") { currency } }'


@pytest.fixture
async def markets(shop: Gateway) -> Gateway:
    """The shop, with offers of two items for two markets; one cannot be bought in Switzerland."""
    offers = [Offer(None, Decimal(1), None, "USD", True), Offer("DE", Decimal(2), None, "EUR", True)]
    away = [*offers, Offer("CH", Decimal(3), None, "CHF", available=False)]
    offers.append(Offer("CH", Decimal(3), None, "CHF", True))
    for id, own in (("i01", offers), ("i02", away)):
        await upsert_items(shop.pool, [{"id": id, "offers": own, "updated_at": clock.now()}])
    await shop.catalogue.refresh()
    return shop


async def test_the_market_of_a_list_is_that_of_its_items(ask: Ask, markets: Gateway) -> None:
    lists = (
        f'items(ids: ["i01", "i02"], market: "CH") {{ {SOLD} }}',
        f'user(id: "anna") {{ recommendations(among: ["i01", "i02"], market: "CH") {{ {SOLD} }} }}',
        f'user(id: "anna") {{ recommendations(among: ["i01", "i02"], context: {{market: "CH"}}) {{ {SOLD} }} }}',
    )
    pages = []
    for text in lists:
        data = (await ask(f"{{ {text} }}")).data
        pages.append((data.get("items") or data["user"]["recommendations"])["nodes"])
    own = {"id": "i01", "price": {"amount": "3", "currency": "CHF"}, "available": True, "de": {"currency": "EUR"}}
    assert pages[0] == [own, {**own, "id": "i02", "available": False}]
    assert pages[1] == pages[2] == [own], "what cannot be bought in the market is not recommended"
    item = '{ item(id: "i01", market: "CH") { price { currency } similar { nodes { id } edges { reason { item {'
    found = (await ask(f"{item} price {{ currency }} }} }} }} }} }} }}")).data["item"]
    assert found["price"] == {"currency": "CHF"}
    assert "i02" not in [node["id"] for node in found["similar"]["nodes"]]
    plain = (await ask('{ item(id: "i01") { price { currency } } }')).data["item"]
    assert plain["price"] == {"currency": "USD"}


async def test_two_markets_for_one_list_are_refused(ask: Ask, markets: Gateway) -> None:
    query = """query ($market: ID, $context: ID) { user(id: "anna") {
      recommendations(market: $market, context: {market: $context}) { nodes { id } } } }"""
    for market, context in (("CH", "CH"), ("CH", None), (None, "CH")):
        assert (await ask(query, {"market": market, "context": context})).codes == []
    refused = await ask(query, {"market": "CH", "context": "DE"})
    assert refused.codes == ["BAD_USER_INPUT"]
    assert refused.messages == ["market and context.market name two markets: send market alone."]


async def test_a_page_of_items_says_how_many_match(ask: Ask, shop: Gateway) -> None:
    pages = """{ all: items(first: 3) { totalCount nodes { id } }
      named: items(ids: ["i01", "none", "i02", "i01"], first: 1) { totalCount pageInfo { endCursor } }
      none: items(filter: {ids: []}) { totalCount } }"""
    found = (await ask(pages)).data
    assert (found["all"]["totalCount"], len(found["all"]["nodes"])) == (40, 3)
    assert (found["named"]["totalCount"], found["none"]["totalCount"]) == (2, 0)
    next_page = (
        'query ($after: String) { items(ids: ["i01", "none", "i02"], after: $after) { totalCount nodes { id } } }'
    )
    after = found["named"]["pageInfo"]["endCursor"]
    assert (await ask(next_page, {"after": after})).data["items"] == {"totalCount": 2, "nodes": [{"id": "i02"}]}
