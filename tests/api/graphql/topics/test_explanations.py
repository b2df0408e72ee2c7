"""`explain` says of every item what the list itself did with it."""

from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from core.uploads import Offer
from db.events import insert_events
from db.items import remove_items, upsert_items
from engine.placements.changing import change_placement
from engine.rules.changing import replace_rule
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(30)]
LIST = """query ($first: Int! = 5, $context: RecommendationContext, $filter: ItemFilter, $exclude: [ID!]) {
  user(id: "anna") { recommendations(first: $first, context: $context, filter: $filter, exclude: $exclude,
    preview: true)
    { modelVersion edges { rank score probability node { id } reason { code text item { id } } } } } }"""
EXPLAIN = """query ($item: ID!, $first: Int! = 5, $context: RecommendationContext, $filter: ItemFilter, $exclude: [ID!],
    $model: ID) {
  explain(userId: "anna", itemId: $item, first: $first, context: $context, filter: $filter, exclude: $exclude,
      modelVersionId: $model) {
    outcome summary rank rule until variant { id } item { id } score probability modelVersion asOf degraded
    sources { source names evidence place takes because { id } }
    parts { method logit medianLogit contributions { group value } lift lowering }
    edge { rank item { id } score } reason { code text item { id } } } }"""


async def store(gateway: Gateway, *lines: tuple[str, str, float]) -> None:
    """Store events of anna: (type, item, days ago)."""
    now = clock.now()
    events = [
        read_event(
            {
                "type": type, "userId": "anna", "itemId": item, "id": f"{type}-{item}-{days}",
                "occurredAt": (now - timedelta(days=days)).isoformat(),
            },
            source="shop",
            received_at=now,
        )
        for type, item, days in lines
    ]  # fmt: skip
    await insert_events(gateway.pool, events)


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Thirty items, i28 and i29 newer than the model, in three categories; anna bought i20 and i23 long ago."""
    now = clock.now() - timedelta(days=1)
    await upsert_items(
        gateway.pool,
        [
            {"id": id, "updated_at": now, "title": f"Item {at}", "categories": ["all", f"c{at % 3}"]}
            for at, id in enumerate(IDS)
        ],
    )
    await gateway.catalogue.refresh()
    await store(gateway, ("PURCHASE", "i20", 40), ("PURCHASE", "i23", 35))
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS[:28]))
    await gateway.models.load()
    return gateway


async def listed(ask: Ask, **variables: Any) -> list[dict[str, Any]]:
    answer = await ask(LIST, variables)
    assert answer.codes == [], answer.messages
    found: list[dict[str, Any]] = answer.data["user"]["recommendations"]["edges"]
    return found


def near(score: float) -> Any:
    """The score some seconds later: purchases fade."""
    return pytest.approx(score, rel=1e-3)


async def explained(ask: Ask, item: str, **variables: Any) -> dict[str, Any]:
    answer = await ask(EXPLAIN, {"item": item, **variables})
    assert answer.codes == [], answer.messages
    found: dict[str, Any] = answer.data["explain"]
    return found


@pytest.mark.parametrize("variables", [{}, {"context": {"itemIds": ["i03"]}}, {"filter": {"categories": ["c1", "c2"]}}])
async def test_ranks_scores_and_reasons_are_those_of_the_list(
    ask: Ask, shop: Gateway, variables: dict[str, Any]
) -> None:
    longer = await listed(ask, first=30, **variables)
    assert len(longer) > 15
    for edge in longer:
        found = await explained(ask, edge["node"]["id"], **variables)
        candidate = any(source["names"] and source["source"] != "FALLBACK" for source in found["sources"])
        if edge["rank"] <= 5:
            assert found["outcome"] == "SHOWN"
            assert found["edge"] is None
        else:
            assert found["outcome"] == ("RANKED_BELOW" if candidate else "NOT_A_CANDIDATE")
            assert found["edge"] == {
                "rank": 5, "item": {"id": longer[4]["node"]["id"]}, "score": near(longer[4]["score"])
            }  # fmt: skip
        if found["outcome"] != "NOT_A_CANDIDATE":
            assert (found["rank"], found["score"]) == (edge["rank"], near(edge["score"]))
            assert (found["reason"], found["probability"]) == (edge["reason"], edge["probability"])


async def test_an_item_newer_than_the_model_is_no_candidate(ask: Ask, shop: Gateway) -> None:
    found = await explained(ask, "i29")
    assert (found["outcome"], found["rank"], found["parts"]) == ("NOT_A_CANDIDATE", None, None)
    assert "does not know the item" in found["summary"]
    assert not any(source["names"] for source in found["sources"])


async def test_an_item_by_chance_or_pinned_on_a_later_page_is_below_the_list(ask: Ask, shop: Gateway) -> None:
    new: list[Any] = [{"id": f"new-{number}", "updated_at": clock.now()} for number in range(8)]
    await upsert_items(shop.pool, new)
    await shop.catalogue.refresh()
    await change_placement(shop.pool, "home", {"explore": 0.2}, "tests")
    await shop.placements.refresh()
    await replace_rule(shop.pool, "pin", {"kind": "PIN", "itemId": "i29", "position": 8}, "tests")
    await shop.rules.refresh()
    edges = (await listed(ask, first=20))[5:]
    placed = [edge for edge in edges if edge["reason"]["code"] in ("EXPLORATION", "PINNED")]
    assert [edge["reason"]["code"] for edge in placed] == ["PINNED", "EXPLORATION", "EXPLORATION"]
    for edge in placed:
        found = await explained(ask, edge["node"]["id"])
        assert (found["outcome"], found["rank"]) == ("RANKED_BELOW", edge["rank"])
        assert (found["reason"]["code"], found["edge"]["rank"]) == (edge["reason"]["code"], 5)


async def test_contributions_add_up_and_the_score_follows_from_the_parts(ask: Ask, shop: Gateway) -> None:
    for item in ("i20", "i21", "i00", "i23"):
        found = await explained(ask, item)
        parts = found["parts"]
        total = sum(each["value"] for each in parts["contributions"])
        assert total == pytest.approx(parts["logit"] - parts["medianLogit"], abs=1e-4)
        assert "Shapley" in parts["method"]
    assert {each["group"] for each in (await explained(ask, "i20"))["parts"]["contributions"]} >= {"OWN_PURCHASES"}


async def test_the_sources_name_their_causes(ask: Ask, shop: Gateway) -> None:
    found = await explained(ask, "i21")
    similar = next(source for source in found["sources"] if source["source"] == "SIMILAR_ITEMS")
    assert (similar["names"], similar["place"], similar["because"]) == (True, 2, [{"id": "i20"}])
    own = next(source for source in (await explained(ask, "i20"))["sources"] if source["source"] == "OWN_PURCHASES")
    assert own["names"]


async def test_a_rule_of_the_person_is_named_with_its_end(ask: Ask, shop: Gateway) -> None:
    await store(shop, ("PURCHASE", "i01", 0.01), ("ADD_TO_CART", "i02", 0.01), ("DISLIKE", "i03", 1))
    resting, cart, disliked = [await explained(ask, id) for id in ("i01", "i02", "i03")]
    assert [found["outcome"] for found in (resting, cart, disliked)] == ["REMOVED"] * 3
    assert [found["rule"] for found in (resting, cart, disliked)] == ["RESTING", "IN_CART", "DISLIKED"]
    now = clock.now()
    assert now + timedelta(hours=5) < moment(resting["until"]) < now + timedelta(hours=6)
    assert cart["until"] is None
    assert moment(disliked["until"]) > now + timedelta(days=28)
    assert "until" in resting["summary"]


def moment(text: str) -> Any:
    return clock.now().fromisoformat(text)


@pytest.mark.parametrize(
    ("variables", "rule"),
    [
        ({"filter": {"categories": ["c1"]}}, "FILTER"),
        ({"context": {"category": "c1"}}, "CATEGORY"),
        ({"exclude": ["i00"]}, "EXCLUDED"),
        ({"context": {"itemIds": ["i00"]}}, "ON_PAGE"),
        ({"context": {"cartItemIds": ["i00"]}}, "ON_PAGE"),
    ],
)
async def test_a_rule_of_the_request_is_named(ask: Ask, shop: Gateway, variables: dict[str, Any], rule: str) -> None:
    assert "i00" not in {edge["node"]["id"] for edge in await listed(ask, first=30, **variables)}
    found = await explained(ask, "i00", **variables)
    assert (found["outcome"], found["rule"], found["rank"]) == ("REMOVED", rule, None)


async def test_a_rule_of_the_catalogue_is_named(ask: Ask, shop: Gateway) -> None:
    offers = [Offer(None, None, None, None, available=False)]
    now = clock.now()
    await upsert_items(shop.pool, [{"id": "i01", "updated_at": now, "offers": offers}])
    await upsert_items(shop.pool, [{"id": id, "updated_at": now, "group_id": "g"} for id in ("i04", "i05")])
    await remove_items(shop.pool, ["i02"])
    await shop.catalogue.refresh()
    assert (await explained(ask, "i01"))["rule"] == "UNAVAILABLE"
    assert (await explained(ask, "i02"))["rule"] == "WITHDRAWN"
    assert (await explained(ask, "never"))["rule"] == "UNKNOWN_ITEM"
    found = await explained(ask, "i05", context={"itemIds": ["i04"]})
    assert (found["rule"], found["variant"]) == ("VARIANT", {"id": "i04"})
    variants = [await explained(ask, id, first=30) for id in ("i04", "i05")]
    assert sorted(found["outcome"] for found in variants) == ["REMOVED", "SHOWN"]


async def test_without_a_model_the_fallback_is_explained(ask: Ask, gateway: Gateway) -> None:
    now = clock.now() - timedelta(days=1)
    await upsert_items(gateway.pool, [{"id": id, "updated_at": now} for id in IDS])
    await gateway.catalogue.refresh()
    for edge in await listed(ask, first=30):
        found = await explained(ask, edge["node"]["id"])
        assert (found["outcome"], found["rank"]) == ("SHOWN" if edge["rank"] <= 5 else "RANKED_BELOW", edge["rank"])
        assert found["reason"] == edge["reason"]
        assert (found["parts"], found["modelVersion"], found["degraded"][-1:]) == (None, None, ["NO_MODEL"])


async def test_another_version_can_be_asked(ask: Ask, shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> None:
    before = (await explained(ask, "i20"))["modelVersion"]
    await serving(shop.pool, make_bundle(shop.catalogue, IDS, seed=1))
    await shop.models.load()
    assert (await explained(ask, "i20"))["modelVersion"] != before
    assert (await explained(ask, "i20", model=before))["modelVersion"] == before
    answer = await ask(EXPLAIN, {"item": "i20", "model": "no-such-model"})
    assert (answer.data["explain"], answer.codes) == (None, ["BAD_USER_INPUT"])


async def test_only_models_read_may_ask(ask: Ask, shop: Gateway) -> None:
    answer = await ask(EXPLAIN, {"item": "i20"}, scopes=["recommendations:read", "profiles:read"])
    assert answer.codes == ["FORBIDDEN"]
    person = await ask(EXPLAIN, {"item": "i20"}, person=Person("user", "anna"), scopes=["recommendations:read"])
    assert person.codes == ["FORBIDDEN"]


async def test_readiness_says_what_is_missing(ask: Ask, shop: Gateway) -> None:
    query = "{ readiness { countedAt purchases complete models { subject status summary fallback modelVersion"
    answer = await ask(query + " requirements { have need met words } } } }")
    found = answer.data["readiness"]
    assert (answer.codes, found["purchases"], found["complete"]) == ([], 2, True)
    assert {each["subject"]: each["status"] for each in found["models"]} == {
        "RECOMMENDATIONS": "TRAINED", "SIMILAR": "TRAINED", "BOUGHT_TOGETHER": "TRAINED",
        "FORECASTS": "NOT_ENOUGH", "SEQUENCE": "NOT_ENOUGH",
    }  # fmt: skip
    assert not found["models"][0]["requirements"][-1]["met"]
    assert (await ask("{ readiness { purchases } }", scopes=["recommendations:read"])).codes == ["FORBIDDEN"]
