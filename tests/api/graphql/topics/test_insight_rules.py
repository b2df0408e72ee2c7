"""Rules over GraphQL: changed, listed, tried out and removed, and what lists and explanations say of them."""

from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person
from db.cache import person_keys
from db.items import upsert_items
from db.segments import save_segment, write_snapshot
from engine.rules.hours import Weekday
from tests.fixtures.gateway import Ask, MakeBundle, Serve

FIELDS = """id version removed kind filter addedWithin itemId position factor count of per priority changedBy reason
  attribute ranges { attribute min max }
  when { placements markets itemIds categories queries segments from to weekdays hours { from to } timeZone }"""
UPSERT = f"""mutation ($input: RuleInput!) {{ upsertRule(input: $input) {{
  rule {{ {FIELDS} }} warnings {{ kind ruleId message }} userErrors {{ code field message }} }} }}"""
LIST = """query ($id: ID!) { user(id: $id) {
  recommendations(placement: "home") { edges { reason { code text } node { id } } }
  page(requests: [{key: "a", placement: "home"}]) { recommendations { edges { reason { code } node { id } } } } } }"""
PREVIEW_OF_ONE = 'previewRules(placement: $name, userIds: ["anna"], rules: []) { userId }'
NOTHING: dict[str, Any] = {
    "filter": None, "addedWithin": None, "itemId": None, "position": None, "factor": None, "count": None, "of": None,
    "per": None, "priority": 0, "changedBy": "tests", "reason": None, "removed": False,
    "attribute": None, "ranges": [],
    "when": {
        "placements": [], "markets": [], "itemIds": [], "categories": [], "queries": [], "segments": [],
        "from": None, "to": None, "weekdays": [], "hours": None, "timeZone": None,
    },
}  # fmt: skip


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Six items of the categories tea and mug."""
    ids = ["tea-1", "tea-2", "tea-3", "mug-1", "mug-2", "mug-3"]
    items = [{"id": id, "updated_at": clock.now(), "title": id, "categories": [id[:3]]} for id in ids]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, ids))
    await gateway.models.load()
    return gateway


async def upsert(ask: Ask, id: str, **input: Any) -> dict[str, Any]:
    answer = await ask(UPSERT, {"input": {"id": id, **input}})
    assert answer.codes == [], answer.messages
    saved: dict[str, Any] = answer.data["upsertRule"]
    return saved


async def test_a_rule_is_saved_listed_and_removed(ask: Ask, shop: Gateway) -> None:
    when = {"placements": ["home"], "from": "2026-01-01T00:00:00Z"}
    saved = await upsert(
        ask, "more-tea", kind="BOOST", factor=2, filter={"categories": ["tea"]}, when=when, reason="tea"
    )
    first = {
        **NOTHING, "id": "more-tea", "version": 1, "kind": "BOOST", "factor": 2.0, "filter": {"categories": ["tea"]},
        "reason": "tea", "when": {**NOTHING["when"], **when},
    }  # fmt: skip
    assert saved == {"rule": first, "warnings": [], "userErrors": []}
    second = (await upsert(ask, "more-tea", kind="AT_MOST", count=2, per="CATEGORY", version=1))["rule"]
    assert second == {**NOTHING, "id": "more-tea", "version": 2, "kind": "AT_MOST", "count": 2, "per": "CATEGORY"}
    (error,) = (await upsert(ask, "more-tea", kind="AT_MOST", count=1, per="BRAND", version=1))["userErrors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["version"])
    await upsert(ask, "cart", kind="PIN", itemId="tea-1", position=1, when={"placements": ["cart"]})
    read = """{ rules(first: 1) { nodes { id } pageInfo { endCursor hasNextPage } }
      home: rules(placement: "home") { nodes { id } } cart: rules(placement: "cart") { nodes { id } }
      rule(id: "more-tea") { history(first: 1) { nodes { version } pageInfo { endCursor } } }
      none: rule(id: "x") { id } }"""
    data = (await ask(read)).data
    assert data["rules"]["nodes"] == [{"id": "cart"}] and data["none"] is None
    assert (data["home"]["nodes"], data["cart"]["nodes"]) == (
        [{"id": "more-tea"}],
        [{"id": "cart"}, {"id": "more-tea"}],
    )
    more = """query ($after: String, $older: String) { rules(after: $after) { nodes { id } }
      rule(id: "more-tea") { history(after: $older) { nodes { version reason } } } }"""
    older = data["rule"]["history"]["pageInfo"]["endCursor"]
    rest = (await ask(more, {"after": data["rules"]["pageInfo"]["endCursor"], "older": older})).data
    assert rest["rules"]["nodes"] == [{"id": "more-tea"}]
    assert rest["rule"]["history"]["nodes"] == [{"version": 1, "reason": "tea"}]
    remove = """mutation { removeRule(id: "more-tea", reason: "autumn") {
      rule { version removed kind when { from } } userErrors { code } } }"""
    gone = {"version": 3, "removed": True, "kind": None, "when": None}
    assert (await ask(remove)).data["removeRule"] == {"rule": gone, "userErrors": []}
    assert [rule.id for rule in shop.rules.rules] == ["cart"]


async def test_every_wrong_field_is_named_and_conflicts_are_told(ask: Ask, shop: Gateway) -> None:
    async def message(**input: Any) -> str:
        saved = await upsert(ask, "a", **input)
        assert saved["rule"] is None
        return " ".join(error["message"] for error in saved["userErrors"])

    assert "PIN needs itemId and position" in await message(kind="PIN")
    assert "PIN has no factor" in await message(kind="PIN", itemId="tea-1", position=1, factor=2)
    assert "BOOST needs filter, ranges or addedWithin" in await message(kind="BOOST", factor=2)
    assert "count must be at least 1" in await message(kind="AT_MOST", per="BRAND", count=0)
    assert "never holds" in await message(
        kind="EXCLUDE", addedWithin=1, when={"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    )
    assert "AT_MOST has attribute where per" in await message(kind="AT_MOST", per="ATTRIBUTE", count=2)
    assert "EXCLUDE has no attribute" in await message(kind="EXCLUDE", addedWithin=1, attribute="margin")
    assert "ranges.0 needs min or max" in await message(kind="EXCLUDE", ranges=[{"attribute": "stock"}])
    assert "when.queries.0 must have a word" in await message(kind="EXCLUDE", addedWithin=1, when={"queries": ["!"]})
    when = {"placements": ["home", "a\0b"]}
    assert "when.placements.1 must have printable" in await message(kind="EXCLUDE", addedWithin=1, when=when)
    for query in ("rules(placement: $name) { nodes { id } }", PREVIEW_OF_ONE):
        found = await ask(f"query ($name: String!) {{ {query} }}", {"name": "a\0b"})
        assert found.messages == ["placement must have 1 to 64 printable characters."]
    await upsert(ask, "pin", kind="PIN", itemId="tea-1", position=1)
    saved = await upsert(ask, "no-tea", kind="EXCLUDE", filter={"categories": ["tea"]})
    assert [(each["kind"], each["ruleId"]) for each in saved["warnings"]] == [("PIN_EXCLUDED", "pin")]


async def test_lists_say_what_is_pinned_and_a_preview_shows_both(ask: Ask, shop: Gateway) -> None:
    before = [edge["node"]["id"] for edge in (await ask(LIST, {"id": "anna"})).data["user"]["recommendations"]["edges"]]
    preview = """query ($rules: [RuleInput!]!, $removed: [ID!]) {
      previewRules(placement: "home", userIds: ["anna"], rules: $rules, removed: $removed) {
        userId before { impressionId nodes { id } } after { nodes { id } } } }"""
    pin = {"id": "pin", "kind": "PIN", "itemId": before[-1], "position": 2}
    (tried,) = (await ask(preview, {"rules": [pin]})).data["previewRules"]
    pinned = [before[0], before[-1], *before[1:-1]]
    assert [node["id"] for node in tried["before"]["nodes"]] == before and tried["before"]["impressionId"] is None
    assert [node["id"] for node in tried["after"]["nodes"]] == pinned
    await upsert(ask, **pin)
    user = (await ask(LIST, {"id": "anna"})).data["user"]
    for edges in (user["recommendations"]["edges"], user["page"][0]["recommendations"]["edges"]):
        assert [edge["node"]["id"] for edge in edges] == pinned
        assert [edge["reason"]["code"] == "PINNED" for edge in edges] == [id == before[-1] for id in pinned]
    assert user["recommendations"]["edges"][1]["reason"]["text"] == f"Chosen for you by the shop: {before[-1]}."
    (tried,) = (await ask(preview, {"rules": [], "removed": ["pin"]})).data["previewRules"]
    assert [node["id"] for node in tried["after"]["nodes"]] == before


async def test_an_explanation_names_the_rules_that_move_an_item_or_keep_it_out(ask: Ask, shop: Gateway) -> None:
    before = [edge["node"]["id"] for edge in (await ask(LIST, {"id": "anna"})).data["user"]["recommendations"]["edges"]]

    async def explained(item: str) -> dict[str, Any]:
        query = """query ($item: ID!) { explain(userId: "anna", itemId: $item) { outcome summary rank rule ruleId
          rankWithoutRules rules { ruleId kind factor position } } }"""
        answer = await ask(query, {"item": item})
        assert answer.codes == [], answer.messages
        found: dict[str, Any] = answer.data["explain"]
        return found

    assert (await explained(before[0]))["rankWithoutRules"] is None
    first, last = before[0], before[-1]
    await upsert(ask, "pin", kind="PIN", itemId=last, position=1, priority=5)
    await upsert(ask, "less", kind="BURY", filter={"ids": [last]}, factor=4)
    found = await explained(last)
    assert (found["outcome"], found["rank"], found["rankWithoutRules"]) == ("SHOWN", 1, len(before))
    assert found["rules"] == [
        {"ruleId": "pin", "kind": "PIN", "factor": None, "position": 1},
        {"ruleId": "less", "kind": "BURY", "factor": 0.25, "position": None},
    ]
    await upsert(ask, "gone", kind="EXCLUDE", filter={"ids": [first]})
    found = await explained(first)
    assert (found["outcome"], found["rule"], found["ruleId"]) == ("REMOVED", "RULE", "gone")
    assert found["rankWithoutRules"] == 1 and "a rule of the shop keeps it out (gone)" in found["summary"]
    for id in ("pin", "less", "gone"):
        await ask("mutation ($id: ID!) { removeRule(id: $id) { userErrors { code } } }", {"id": id})
    await upsert(ask, "one", kind="AT_MOST", count=1, per="CATEGORY")
    second = next(id for id in before[1:] if id[:3] == before[0][:3])
    found = await explained(second)
    assert (found["rule"], found["ruleId"], found["rankWithoutRules"]) == ("RULE", "one", before.index(second) + 1)
    await upsert(ask, "one", kind="INCLUDE_ONLY", filter={"categories": ["mug"]})
    assert (await explained("tea-1"))["ruleId"] == "one"


async def test_a_rule_for_a_segment_holds_for_its_people_alone(ask: Ask, shop: Gateway) -> None:
    pin = {"kind": "PIN", "itemId": "mug-3", "position": 1, "when": {"segments": ["loyal"]}}
    (error,) = (await upsert(ask, "pin", **pin))["userErrors"]
    assert (error["field"], "loyal" in error["message"]) == (["when", "segments"], True), "there is no such segment"
    where = {"orders": {"min": 1}}
    await save_segment(shop.pool, "loyal", "Loyal", where, "tests")
    await write_snapshot(shop.pool, "loyal", where, ["anna"], clock.now())
    saved = await upsert(ask, "pin", **pin)
    assert (saved["userErrors"], saved["rule"]["when"]["segments"]) == ([], ["loyal"])

    async def pinned(id: str, context: str = "") -> list[bool]:
        text = """query ($id: ID!) { user(id: $id) { recommendations(placement: "home"CONTEXT) { edges {
          reason { code } } } page(requests: [{key: "a", placement: "home"CONTEXT}]) {
          recommendations { edges { reason { code } } } } } }"""
        user = (await ask(text.replace("CONTEXT", context), {"id": id})).data["user"]
        lists = [user["recommendations"], *(slot["recommendations"] for slot in user["page"])]
        return ["PINNED" in [edge["reason"]["code"] for edge in each["edges"]] for each in lists]

    assert (await pinned("anna"), await pinned("bert")) == ([True, True], [False, False])
    assert await pinned("anna", ", context: {personalize: false}") == [False, False]
    explain = """{ explain(userId: "anna", itemId: "mug-3", placement: "home") { rank rules { ruleId } } }"""
    assert (await ask(explain)).data["explain"] == {"rank": 1, "rules": [{"ruleId": "pin"}]}
    delete = 'mutation { deleteSegment(id: "loyal") { deleted userErrors { field message } } }'
    refused = (await ask(delete)).data["deleteSegment"]
    assert (refused["deleted"], "pin" in refused["userErrors"][0]["message"]) == (False, True)
    await write_snapshot(shop.pool, "loyal", where, ["bert"], clock.now())
    assert await pinned("anna") == [True, True], "what was read is kept for some minutes"
    for id in ("anna", "bert"):
        shop.people.memberships.forget(Person("user", id))
        await shop.redis.delete(person_keys(Person("user", id)).segments)
    assert (await pinned("anna"), await pinned("bert")) == ([False, False], [True, True])
    await ask('mutation { pausePersonalization(paused: true, userId: "bert") { userErrors { code } } }')
    assert await pinned("bert") == [False, False], "a paused list uses nothing that is known of the person"


async def test_a_rule_of_a_search_holds_for_it_alone(ask: Ask, shop: Gateway) -> None:
    when = {
        "queries": ["Thé vert"], "weekdays": [day.value for day in Weekday],
        "hours": {"from": 0, "to": 24}, "timeZone": "Europe/Paris",
    }  # fmt: skip
    ranges = [{"attribute": "stock", "min": 1.0, "max": None}]
    saved = (await upsert(ask, "green", kind="EXCLUDE", ranges=ranges, when=when))["rule"]
    assert (saved["when"], saved["ranges"]) == ({**NOTHING["when"], **when}, ranges)
    await upsert(ask, "green", kind="INCLUDE_ONLY", filter={"categories": ["tea"]}, when=when)
    query = """query ($query: String) { user(id: "anna") {
      recommendations(placement: "home", context: {query: $query}) { nodes { id } }
      searched: recommendations(
        placement: "home", context: {query: $query}, among: ["mug-2", "tea-2", "tea-1"]) { nodes { id } }
      page(requests: [{key: "a", placement: "home"}, {key: "b", placement: "home", context: {query: "mug"}}],
        context: {query: $query}, distinct: false) { recommendations { nodes { id } } } } }"""
    every = {"tea-1", "tea-2", "tea-3", "mug-1", "mug-2", "mug-3"}
    for text, expected in (("le THE vert", {"tea-1", "tea-2", "tea-3"}), ("the", every), (None, every)):
        user = (await ask(query, {"query": text})).data["user"]
        lists = [user["recommendations"], *(slot["recommendations"] for slot in user["page"])]
        found = [{node["id"] for node in listed["nodes"]} for listed in lists]
        assert found == [expected, expected, every]
        searched = {node["id"] for node in user["searched"]["nodes"]}
        assert searched == {"mug-2", "tea-2", "tea-1"} & expected
    refused = await ask(query, {"query": "x" * 201})
    assert refused.messages[0] == "context.query may have at most 200 characters."
