"""Segments over GraphQL: saved, listed, deleted, with their scopes."""

from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from db.segment_figures import Figures, FiguresMade, write_figures
from db.segments import write_snapshot
from tests.fixtures.gateway import Ask

FIELDS = """id name where { rfm recency { min max } orders { min max } spent { min max }
  churn { within min max } nextPurchase { within min max } } members asOf changedBy"""
SAVE = f"""mutation ($input: SegmentInput!) {{
  saveSegment(input: $input) {{ segment {{ {FIELDS} }} userErrors {{ code field message }} }} }}"""
LOYAL = {"id": "loyal", "name": "Loyal", "where": {"rfm": ["LOYAL", "CHAMPION"], "orders": {"min": 3}}}


async def save(ask: Ask, **changes: Any) -> dict[str, Any]:
    answer = await ask(SAVE, {"input": {**LOYAL, **changes}})
    assert answer.codes == [], answer.messages
    saved: dict[str, Any] = answer.data["saveSegment"]
    return saved


async def test_forecasts_are_conditions(ask: Ask) -> None:
    where = {"churn": {"within": "P60D", "min": 0.66}, "nextPurchase": {"max": 0.1}}
    saved = (await save(ask, where=where))["segment"]["where"]
    assert saved["churn"] == {"within": "P60D", "min": 0.66, "max": None}
    assert saved["nextPurchase"] == {"within": "P30D", "min": None, "max": 0.1}
    (error,) = (await save(ask, where={"churn": {"within": "PT36H", "min": 0.5}}))["userErrors"]
    assert (error["field"], error["message"]) == (["where", "churn", "within"], "where.churn.within takes whole days")
    (error,) = (await save(ask, where={"churn": {"within": "P400D", "min": 0.5}}))["userErrors"]
    assert error["field"] == ["where", "churn", "within"]
    for chance, place in (({}, []), ({"max": 2}, ["max"]), ({"within": "PT1H", "max": 0.5}, ["within"])):
        (error,) = (await save(ask, where={"nextPurchase": chance}))["userErrors"]
        assert error["field"] == ["where", "nextPurchase", *place]
        assert "next_purchase" not in error["message"]


async def test_a_segment_is_saved_read_and_deleted(ask: Ask, gateway: Gateway) -> None:
    wanted = {
        "id": "loyal", "name": "Loyal", "members": None, "asOf": None, "changedBy": "tests",
        "where": {
            "rfm": ["LOYAL", "CHAMPION"], "recency": None, "orders": {"min": 3.0, "max": None}, "spent": None,
            "churn": None, "nextPurchase": None,
        },
    }  # fmt: skip
    assert await save(ask) == {"segment": wanted, "userErrors": []}
    document = {"rfm": ["LOYAL", "CHAMPION"], "orders": {"min": 3.0}}
    await write_snapshot(gateway.pool, "loyal", document, ["anna", "bert"], clock.now())
    answer = await ask(
        f'{{ segments {{ {FIELDS} }} segment(id: "loyal") {{ members }} none: segment(id: "x") {{ id }} }}'
    )
    assert answer.data["segments"] == [{**wanted, "members": 2, "asOf": answer.data["segments"][0]["asOf"]}]
    assert (answer.data["segment"], answer.data["none"]) == ({"members": 2}, None)
    delete = 'mutation { deleteSegment(id: "loyal") { deleted userErrors { code } } }'
    deleted = [(await ask(delete)).data["deleteSegment"] for _ in range(2)]
    assert deleted == [{"deleted": True, "userErrors": []}, {"deleted": False, "userErrors": []}]


async def test_a_segment_is_created_changed_and_deleted_with_its_history(ask: Ask) -> None:
    create = """mutation ($input: SegmentInput!) {
      createSegment(input: $input) { segment { id version reason } userErrors { code field } } }"""
    made = [(await ask(create, {"input": {**LOYAL, "reason": "a mailing"}})).data["createSegment"] for _ in range(2)]
    assert made[0] == {"segment": {"id": "loyal", "version": 1, "reason": "a mailing"}, "userErrors": []}
    assert made[1] == {"segment": None, "userErrors": [{"code": "BAD_USER_INPUT", "field": ["id"]}]}
    update = f"""mutation ($id: ID!, $input: SegmentChanges!) {{
      updateSegment(id: $id, input: $input) {{ segment {{ {FIELDS} version }} userErrors {{ code field }} }} }}"""

    async def change(id: str = "loyal", **changes: Any) -> dict[str, Any]:
        answer = await ask(update, {"id": id, "input": changes})
        assert answer.codes == [], answer.messages
        changed: dict[str, Any] = answer.data["updateSegment"]
        return changed

    changed = (await change(where={"orders": None, "recency": {"max": 30}}))["segment"]
    assert (changed["name"], changed["version"], changed["where"]["orders"]) == ("Loyal", 2, None)
    assert (changed["where"]["rfm"], changed["where"]["recency"]["max"]) == (["LOYAL", "CHAMPION"], 30)
    assert (await change(name=None))["segment"]["name"] == "loyal"
    for wrong, code, field in (
        ({"version": 1, "name": "New"}, "CONFLICT", ["version"]),
        ({"where": {"rfm": None, "recency": None}}, "BAD_USER_INPUT", ["where"]),
        ({"where": {"nextPurchase": {"max": 2}}}, "BAD_USER_INPUT", ["where", "nextPurchase", "max"]),
        ({"id": "none"}, "BAD_USER_INPUT", ["id"]),
    ):
        assert await change(**wrong) == {"segment": None, "userErrors": [{"code": code, "field": field}]}
    delete = """mutation ($version: Int) { deleteSegment(id: "loyal", version: $version, reason: "done") {
      deleted userErrors { code } } }"""
    assert (await ask(delete, {"version": 1})).data["deleteSegment"]["userErrors"] == [{"code": "CONFLICT"}]
    page = (
        '{ segment(id: "loyal") { history(first: 2) { nodes { version name where { rfm } } pageInfo { endCursor } } } }'
    )
    history = (await ask(page)).data["segment"]["history"]
    assert [each["version"] for each in history["nodes"]] == [3, 2]
    rest = page.replace("first: 2", f'first: 2, after: "{history["pageInfo"]["endCursor"]}"')
    assert [each["name"] for each in (await ask(rest)).data["segment"]["history"]["nodes"]] == ["Loyal"]
    assert (await ask(delete, {"version": 3})).data["deleteSegment"] == {"deleted": True, "userErrors": []}


async def test_every_condition_is_read_as_it_was_written(ask: Ask) -> None:
    where = {
        "traits": [{"key": "plan", "values": ["gold"]}, {"key": "age", "min": 18.0}, {"key": "vip", "exists": False}],
        "affinities": [{"by": "BRAND", "key": "Alm", "min": 0.5}],
        "events": [{"type": "VIEW", "within": "P7D", "min": 3, "categories": ["tea"]}],
        "anyOf": [{"rfm": ["LOYAL"]}, {"orders": {"min": 2.0}}],
        "not": {"recency": {"max": 30.0}},
    }
    create = """mutation ($input: SegmentInput!) { createSegment(input: $input) {
      segment { where {
        traits { key values min max exists } affinities { by key min max }
        events { type within min max categories brands } anyOf { rfm orders { min } } not { recency { max } }
      } } size { members note } userErrors { field } } }"""
    made = (await ask(create, {"input": {**LOYAL, "where": where}})).data["createSegment"]
    assert made["userErrors"] == []
    assert (made["size"]["members"], made["size"]["note"] is None) == (None, False), "no figures were found yet"

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: said(each) for name, each in value.items() if each is not None}
        return [said(each) for each in value] if isinstance(value, list) else value

    assert said(made["segment"]["where"]) == where


async def test_the_size_of_a_segment_is_told_before_it_is_saved(ask: Ask, gateway: Gateway) -> None:
    preview = """query ($where: SegmentConditionsInput!) { previewSegment(input: {where: $where}) {
      size { members asOf note } userErrors { field } } }"""
    made = FiguresMade(clock.now(), False)
    figures = [Figures(id, clock.now(), orders, 0, "NEW", None) for id, orders in (("anna", 3), ("bert", 1))]
    await write_figures(gateway.pool, figures, made, clock.now())
    found = (await ask(preview, {"where": {"orders": {"min": 2}}})).data["previewSegment"]
    assert (found["size"]["members"], found["size"]["note"]) == (1, None)
    wrong = (await ask(preview, {"where": {"traits": [{"key": "plan"}]}})).data["previewSegment"]
    assert wrong == {"size": None, "userErrors": [{"field": ["where", "traits", "0"]}]}
    forbidden = await ask(preview, {"where": {"orders": {"min": 2}}}, scopes=["segments:write"])
    assert forbidden.codes == ["FORBIDDEN"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "a b"}, ["id"]),
        ({"name": ""}, ["name"]),
        ({"where": {}}, ["where"]),
        ({"where": {"rfm": []}}, ["where"]),
        ({"where": {"orders": {"min": 3, "max": 2}}}, ["where", "orders"]),
        ({"where": {"recency": {"min": -1}}}, ["where", "recency", "min"]),
        ({"where": {"rfm": ["NEW", "NEW"]}}, ["where", "rfm"]),
    ],
)
async def test_a_wrong_segment_is_refused_and_the_field_named(
    ask: Ask, gateway: Gateway, changes: dict[str, Any], field: list[str]
) -> None:
    saved = await save(ask, **changes)
    assert (saved["segment"], [error["field"] for error in saved["userErrors"]]) == (None, [field])


async def test_reading_and_writing_have_scopes_of_their_own(ask: Ask, gateway: Gateway) -> None:
    assert (await ask("{ segments { id } }", scopes=["segments:write"])).codes == ["FORBIDDEN"]
    assert (await ask('{ segment(id: "x") { id } }', scopes=["profiles:read"])).codes == ["FORBIDDEN"]
    assert (await ask(SAVE, {"input": LOYAL}, scopes=["segments:read"])).codes == ["FORBIDDEN"]
    delete = 'mutation { deleteSegment(id: "x") { deleted } }'
    assert (await ask(delete, scopes=["segments:read"])).codes == ["FORBIDDEN"]
