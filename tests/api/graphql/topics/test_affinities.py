"""`User.affinities`: by the model's probabilities, or the person's purchases; for oneself and with profiles:read."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from db.events import insert_events
from db.items import upsert_items
from ml.affinity.chances import Chance
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(12)]
QUERY = """query ($by: AffinityDimension! = CATEGORY, $first: Int! = 10) {
  user(id: "anna") { affinities(by: $by, first: $first) { key share score probability basis }
    recommendations(first: 12, preview: true) { nodes { id categories } edges { probability } } } }"""


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Twelve items in three categories of two brands; anna bought i00 twice and i01 once, both are tea or milk."""
    now = clock.now() - timedelta(days=1)
    kinds = ("tea", "milk", "bread")
    await upsert_items(
        gateway.pool,
        [
            {"id": id, "updated_at": now, "categories": ["food", kinds[at % 3]], "brand": "Best" if at < 6 else None}
            for at, id in enumerate(IDS)
        ],
    )
    bought = [("i00", 60), ("i00", 30), ("i01", 30)]
    await insert_events(
        gateway.pool,
        [
            read_event(
                {
                    "type": "PURCHASE", "userId": "anna", "itemId": item, "id": f"{item}-{days}",
                    "occurredAt": (now - timedelta(days=days)).isoformat(),
                },
                source="shop",
                received_at=now,
            )
            for item, days in bought
        ],
    )  # fmt: skip
    await gateway.catalogue.refresh()
    return gateway


async def liked(ask: Ask, **variables: Any) -> list[dict[str, Any]]:
    answer = await ask(QUERY, variables)
    assert answer.codes == [], answer.messages
    found: list[dict[str, Any]] = answer.data["user"]["affinities"]
    return found


async def test_with_a_model_they_follow_from_the_probabilities_of_the_list(
    ask: Ask, shop: Gateway, make_bundle: MakeBundle, serving: Serve
) -> None:
    await serving(shop.pool, make_bundle(shop.catalogue, IDS, chance=Chance(0.5, -1.0, 14 * 86_400)))
    await shop.models.load()
    found = await liked(ask)
    answer = await ask(QUERY, {})
    items = answer.data["user"]["recommendations"]
    none: dict[str, float] = {}
    for node, edge in zip(items["nodes"], items["edges"], strict=True):
        none[node["categories"][-1]] = none.get(node["categories"][-1], 1.0) * (1 - edge["probability"])
    assert {one["key"]: one["probability"] for one in found} == {
        key: pytest.approx(1 - chance, rel=1e-4) for key, chance in none.items()
    }
    assert {one["basis"] for one in found} == {"MODEL"}
    assert sum(one["share"] for one in found) == pytest.approx(1)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert len(await liked(ask, first=1)) == 1


async def test_without_a_model_they_are_the_decayed_purchases(ask: Ask, shop: Gateway) -> None:
    found = await liked(ask)
    assert [(one["key"], one["basis"], one["probability"]) for one in found] == [
        ("tea", "PURCHASES", None),
        ("milk", "PURCHASES", None),
    ]
    assert [one["key"] for one in await liked(ask, by="BRAND")] == ["Best"]


async def test_a_person_who_never_bought_has_none(ask: Ask, shop: Gateway) -> None:
    answer = await ask('{ user(id: "bert") { affinities { key } } }')
    assert (answer.data["user"]["affinities"], answer.codes) == ([], [])


async def test_who_may_read_them(ask: Ask, shop: Gateway) -> None:
    query = '{ user(id: "anna") { affinities { key } } }'
    others = await ask(query, scopes=["recommendations:read"])
    assert (others.data["user"]["affinities"], others.codes) == (None, ["FORBIDDEN"])
    oneself = await ask(query, scopes=["recommendations:read"], person=Person("user", "anna"))
    assert (len(oneself.data["user"]["affinities"]), oneself.codes) == (2, [])


@pytest.mark.parametrize("first", [0, 101])
async def test_first_is_bounded(ask: Ask, shop: Gateway, first: int) -> None:
    assert (await ask(QUERY, {"first": first})).codes == ["BAD_USER_INPUT"]
