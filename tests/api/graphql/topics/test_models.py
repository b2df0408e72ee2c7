"""Models and decisions over GraphQL."""

from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from db.items import upsert_items
from db.serving import Model, mark_pruned, promote, refuse, register_model
from tests.fixtures.gateway import Ask, MakeBundle, Serve

MODELS = """query ($first: Int! = 20, $after: String) { models(first: $first, after: $after) {
  edges { cursor node { id } } nodes { nodeId id kind createdAt evaluation serving }
  pageInfo { hasNextPage endCursor } totalCount } }"""
DECISIONS = """query ($first: Int! = 20, $after: String) { decisions(first: $first, after: $after) {
  edges { cursor } nodes { id decidedAt action modelId previousModelId reason evidence decidedBy }

  pageInfo { hasNextPage endCursor } totalCount } }"""
MODEL = "query ($id: ID!) { model(id: $id) { id serving } }"
VERDICTS = "{ models { nodes { id baseline horizon training deletedAt decision { action reason } } } }"


@pytest.fixture
async def three(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> list[str]:
    """The ids of three models, promoted one after another."""
    await upsert_items(gateway.pool, [{"id": id, "updated_at": clock.now()} for id in "abc"])
    await gateway.catalogue.refresh()
    return [await serving(gateway.pool, make_bundle(gateway.catalogue, "abc", seed=seed)) for seed in range(3)]


async def test_models_have_their_metrics_and_say_which_one_serves(ask: Ask, three: list[str]) -> None:
    nodes = (await ask(MODELS)).data["models"]["nodes"]
    assert {node["id"] for node in nodes} == set(three)
    assert [node["id"] for node in nodes if node["serving"]] == [three[-1]]
    assert all(node["kind"] == "affinity" and node["evaluation"]["ndcg_at_10"] == 0.2 for node in nodes)
    assert all(node["createdAt"] == "2026-01-05T00:00:00Z" for node in nodes)


DIFF = """query ($a: ID!, $b: ID!) { modelDiff(firstId: $a, secondId: $b) {
  first { id } second { id } note made { part name first second same }
  metrics { method metric first { value low high } second { value } difference overlap } } }"""


async def test_two_models_are_shown_side_by_side(ask: Ask, gateway: Gateway, three: list[str]) -> None:
    for id, epochs, value in (("one", 6, 0.2), ("two", 8, 0.25)):
        score = {"value": value, "low": value - 0.01, "high": value + 0.01}
        evaluation = {"candidate": "ranker", "methods": {"ranker": {"ndcg_at_10": score}}, "people": 9}
        made = {"seed": 7, "settings": {"epochs": epochs, "hidden": [64, 32]}}
        await register_model(gateway.pool, Model(id, "affinity", clock.now(), "d", evaluation, None, made))
    found = (await ask(DIFF, {"a": "one", "b": "two"})).data["modelDiff"]
    assert (found["first"], found["second"], found["note"]) == ({"id": "one"}, {"id": "two"}, None)
    assert found["made"] == [
        {"part": "seed", "name": "", "first": 7, "second": 7, "same": True},
        {"part": "settings", "name": "epochs", "first": 6, "second": 8, "same": False},
        {"part": "settings", "name": "hidden", "first": [64, 32], "second": [64, 32], "same": True},
    ]
    (metric,) = found["metrics"]
    assert (metric["method"], metric["metric"], metric["overlap"]) == ("ranker", "ndcg_at_10", False)
    assert (metric["difference"], metric["second"]) == (pytest.approx(0.05), {"value": 0.25})
    assert (
        (await ask(DIFF, {"a": "one", "b": three[0]})).data["modelDiff"]["note"].startswith("The two were evaluated on")
    )
    assert (await ask(DIFF, {"a": "one", "b": "unheard-of"})).data == {"modelDiff": None}
    assert (await ask(DIFF, {"a": "one", "b": "two"}, scopes=["metrics:read"])).codes == ["FORBIDDEN"]


async def test_a_refused_model_and_a_baseline_are_told_from_others(
    ask: Ask, gateway: Gateway, three: list[str]
) -> None:
    refused, at = three[0], clock.now()
    await refuse(gateway.pool, refused, "too few people", {}, "gate")
    made = {"seed": 7}
    simple = Model("simple", "affinity", at, "d", {"baseline": "popularity"}, None, made)
    await register_model(gateway.pool, simple)
    await register_model(gateway.pool, Model("trained", "affinity", at, "d", {"horizon": 1_209_600}, None))
    await mark_pruned(gateway.pool, three[1])
    found = {node["id"]: node for node in (await ask(VERDICTS)).data["models"]["nodes"]}
    assert found[refused]["decision"] == {"action": "REFUSED", "reason": "too few people"}
    assert found[three[2]]["decision"]["action"] == "PROMOTED"
    assert found["simple"]["decision"] is None
    assert (found["simple"]["baseline"], found["simple"]["training"], found["simple"]["horizon"]) == (
        "popularity",
        made,
        None,
    )
    assert (found["trained"]["baseline"], found["trained"]["horizon"]) == (None, "P14D")
    assert found[three[1]]["deletedAt"]
    assert found[three[2]]["deletedAt"] is None


async def test_models_are_paged(ask: Ask, three: list[str]) -> None:
    first = (await ask(MODELS, {"first": 2})).data["models"]
    assert first["pageInfo"]["hasNextPage"] and first["totalCount"] == 3
    rest = (await ask(MODELS, {"after": first["pageInfo"]["endCursor"]})).data["models"]
    assert sorted(node["id"] for node in [*first["nodes"], *rest["nodes"]]) == sorted(three)
    assert not rest["pageInfo"]["hasNextPage"]


async def test_one_model_is_found_by_its_id(ask: Ask, three: list[str]) -> None:
    assert (await ask(MODEL, {"id": three[-1]})).data["model"] == {"id": three[-1], "serving": True}
    assert (await ask(MODEL, {"id": "nothing"})).data["model"] is None
    assert (await ask(MODEL, {"id": "\0"})).codes == ["BAD_USER_INPUT"]


async def test_decisions_have_the_model_that_served_before(ask: Ask, three: list[str]) -> None:
    first = (await ask(DECISIONS, {"first": 1})).data["decisions"]
    assert first["totalCount"] > 1
    (node,) = first["nodes"]
    assert (node["action"], node["modelId"], node["previousModelId"]) == ("PROMOTED", three[2], three[1])
    assert (node["reason"], node["evidence"], node["decidedBy"]) == ("a test says so", {}, "test")
    rest = (await ask(DECISIONS, {"after": first["pageInfo"]["endCursor"]})).data["decisions"]
    assert [node["modelId"] for node in rest["nodes"]] == [three[1], three[0]]
    assert not rest["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize("query", [MODELS, DECISIONS])
@pytest.mark.parametrize("variables", [{"first": 0}, {"first": 101}, {"after": "nonsense"}])
async def test_a_list_out_of_bounds_is_bad_input(ask: Ask, query: str, variables: dict[str, Any]) -> None:
    assert (await ask(query, variables)).codes == ["BAD_USER_INPUT"]


async def test_a_cursor_of_another_list_is_bad_input(ask: Ask, three: list[str]) -> None:
    after = (await ask(MODELS, {"first": 1})).data["models"]["pageInfo"]["endCursor"]
    assert (await ask(DECISIONS, {"after": after})).codes == ["BAD_USER_INPUT"]


async def test_models_need_their_scope(ask: Ask) -> None:
    for query, variables in ((MODELS, {}), (DECISIONS, {}), (MODEL, {"id": "x"})):
        assert (await ask(query, variables, scopes=["catalog:read"])).codes == ["FORBIDDEN"]


GATES = "{ models { nodes { id gate { verdict summary checks { name passed value limit words } } } } }"


async def test_a_model_says_what_the_gate_checked(ask: Ask, gateway: Gateway) -> None:
    check = {"name": "people", "passed": False, "value": 7.0, "limit": 100.0, "words": "7 people; 100 are needed"}
    gate = {"verdict": "REFUSED", "summary": "too few people", "checks": [check]}
    for id, evaluation in (("new", {"gate": gate}), ("old", {}), ("unjudged", {})):
        await register_model(gateway.pool, Model(id, "affinity", clock.now(), "d", evaluation, None))
    await refuse(gateway.pool, "old", "not better than popularity", {"job": 1}, "trainer")
    await promote(gateway.pool, "old", "ada likes it", {"override_gate": True}, "ada")
    await promote(gateway.pool, "unjudged", "ada likes it", {"override_gate": True}, "ada")
    found = {node["id"]: node["gate"] for node in (await ask(GATES)).data["models"]["nodes"]}
    assert found["new"] == gate
    assert found["old"] == {"verdict": "REFUSED", "summary": "not better than popularity", "checks": []}
    assert found["unjudged"] is None
