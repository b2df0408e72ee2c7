"""What a federation router asks: the schema of this subgraph, and entities by their keys."""

from typing import Any

import pytest
from graphql import build_schema, parse

from api.gateway import Gateway
from api.graphql.schema import SCHEMA
from api.graphql.types.nodes import node_id_of
from core import clock
from core.contract import Person
from db.items import upsert_items
from db.postgres import Pool
from tests.fixtures.gateway import Ask

ENTITIES = """query ($wanted: [_Any!]!) {
  _entities(representations: $wanted) { __typename ... on Item { id title } ... on User { id anonymous } }
}"""
MILK = {"__typename": "Item", "id": "milk", "title": "Milk"}


@pytest.fixture
async def shop(gateway: Gateway, pool: Pool) -> None:
    """A shop that sells milk."""
    await upsert_items(pool, [{"id": "milk", "title": "Milk", "updated_at": clock.now()}])
    await gateway.catalogue.refresh()


def item(id: Any) -> dict[str, Any]:
    return {"__typename": "Item", "id": id}


def user(id: Any) -> dict[str, Any]:
    return {"__typename": "User", "id": id}


async def test_entities_are_found_by_each_key_in_the_order_asked_for(ask: Ask, shop: None) -> None:
    guest = {"__typename": "User", "nodeId": node_id_of("User", "guest:g1")}
    by_node = {"__typename": "Item", "nodeId": node_id_of("Item", "milk")}
    answer = await ask(ENTITIES, {"wanted": [user("anna"), item("milk"), guest, by_node, item("none")]})
    assert answer.codes == []
    assert answer.data["_entities"] == [
        {"__typename": "User", "id": "anna", "anonymous": False},
        MILK,
        {"__typename": "User", "id": "g1", "anonymous": True},
        MILK,
        None,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        "milk",
        [],
        {"__typename": "Item"},
        {"__typename": "Job", "id": "1"},
        {"__typename": ["Item"], "id": "milk"},
        item(1),
        item(""),
        item("x" * 129),
        user(None),
        {"__typename": "Item", "nodeId": 1},
        {"__typename": "Item", "nodeId": "x" * 5_000},
        {"__typename": "Item", "nodeId": node_id_of("User", "user:anna")},
    ],
)
async def test_a_wrong_representation_is_an_error_in_its_place(ask: Ask, shop: None, wrong: Any) -> None:
    answer = await ask(ENTITIES, {"wanted": [item("milk"), wrong]})
    assert answer.codes == ["BAD_USER_INPUT"]
    assert answer.data == {"_entities": [MILK, None]}


async def test_each_type_needs_its_scope(ask: Ask, shop: None) -> None:
    answer = await ask(ENTITIES, {"wanted": [item("milk"), user("anna")]}, scopes=["catalog:read"])
    assert (answer.codes, answer.data["_entities"]) == (["FORBIDDEN"], [MILK, None])
    neither = await ask(ENTITIES, {"wanted": [item("milk")]}, scopes=["models:read"])
    assert (neither.codes, neither.data) == (["FORBIDDEN"], None)


async def test_a_persons_token_reaches_that_person_only(ask: Ask, shop: None) -> None:
    wanted = [user("anna"), user("bert"), {"__typename": "User", "nodeId": node_id_of("User", "guest:anna")}]
    scopes = ["recommendations:read"]
    answer = await ask(ENTITIES, {"wanted": wanted}, person=Person("user", "anna"), scopes=scopes)
    assert answer.codes == ["NOT_FOUND", "NOT_FOUND"]
    assert [found and found["id"] for found in answer.data["_entities"]] == ["anna", None, None]


async def test_representations_are_bounded_and_count_in_the_cost(ask: Ask, shop: None) -> None:
    many = await ask(ENTITIES, {"wanted": [item("milk")] * 101})
    assert many.codes == ["BAD_USER_INPUT"]
    deep = await ask(ENTITIES, {"wanted": [item("milk") | {"x": nested(31)}]})
    assert deep.codes == ["BAD_USER_INPUT"] or deep.codes == ["BAD_REQUEST"]
    wide = "{ _entities(representations: %s) { ... on Item { similar(first: 60) { nodes { id } } } } }"
    literals = ", ".join('{__typename: "Item", id: "milk"}' for _ in range(50))
    assert (await ask(wide % f"[{literals}]")).codes == ["QUERY_TOO_COMPLEX"]
    variables = wide.replace("{ _e", "query ($wanted: [_Any!]!) { _e") % "$wanted"
    assert (await ask(variables, {"wanted": [item("milk")]})).codes == []
    assert (await ask(variables, {"wanted": [item("milk")] * 50})).codes == ["QUERY_TOO_COMPLEX"]
    assert (await ask(variables, {"wanted": [item("milk") | {"first": 50}]})).codes == []
    assert (await ask(variables, {"wanted": [item("milk") | {"first": 1}] * 50})).codes == ["QUERY_TOO_COMPLEX"]


def nested(levels: int) -> Any:
    return {} if not levels else {"x": nested(levels - 1)}


async def test_the_schema_needs_its_scope_and_is_one_for_routers(ask: Ask) -> None:
    answer = await ask("{ _service { sdl } }", scopes=["schema:read"])
    sdl = answer.data["_service"]["sdl"]
    assert sdl.startswith("extend schema @link(")
    build_schema(sdl.partition("\n")[2])
    assert 'type Item implements Node @key(fields: "id"' in sdl and 'type User implements Node @key(fields: "id"' in sdl
    assert parse(sdl)
    assert (await ask("{ _service { sdl } }", scopes=["catalog:read"])).codes == ["FORBIDDEN"]
    assert SCHEMA.subgraph_sdl == sdl
