"""Values written into a document are refused as variables are: with the same code, and with a place."""

from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from engine.scopes import SCOPES
from engine.viewer import Viewer
from tests.storeless import Storeless


class Anyone:
    """Accepts every token."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset(SCOPES), None, 2**40)


async def errors(query: str, variables: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Anyone(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    headers = {"authorization": "Bearer t"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop", headers=headers) as client:
        found = (await client.post("/graphql", json={"query": query, "variables": variables or {}})).json()
    assert "data" not in found
    return list(found["errors"])


WRONG = [  # type, where it goes, the literal, the same as a variable
    ("Int!", "items(first: %s) { nodes { id } }", '"many"', "many"),
    ("Int!", "items(first: %s) { nodes { id } }", "1.5", 1.5),
    ("Int!", "items(first: %s) { nodes { id } }", "[1]", [1]),
    ("Int!", "items(first: %s) { nodes { id } }", "9999999999", 9999999999),
    ("Int!", "items(first: %s) { nodes { id } }", "null", None),
    ("ID!", "item(id: %s) { id }", '["a"]', ["a"]),
    ("ID!", "item(id: %s) { id }", "{a: 1}", {"a": 1}),
    ("[ID!]", "items(ids: %s) { nodes { id } }", "[null]", [None]),
    ("[ID!]", "items(ids: %s) { nodes { id } }", '[["a"]]', [["a"]]),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", '{brand: "x"}', {"brand": "x"}),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", "{attributes: [{}]}", {"attributes": [{}]}),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", "{price: {max: 4.99}}", {"price": {"max": 4.99}}),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", "{price: {max: [1]}}", {"price": {"max": [1]}}),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", "{available: 1}", {"available": 1}),
    ("ItemFilter", "items(filter: %s) { nodes { id } }", "7", 7),
    ("Duration!", "trending(window: %s) { nodes { id } }", '"a week"', "a week"),
]


@pytest.mark.parametrize(("type_", "field", "literal", "value"), WRONG)
async def test_a_wrong_literal_has_the_code_of_a_wrong_variable_and_a_place(
    type_: str, field: str, literal: str, value: object
) -> None:
    written = await errors(f"{{ {field % literal} }}")
    sent = await errors(f"query ($v: {type_}) {{ {field % '$v'} }}", {"v": value})
    for error in written + sent:
        assert error["extensions"]["code"] == "BAD_USER_INPUT", error
        assert len(error["locations"]) == 1, error
        assert "path" not in error
    start = 3 + field.index("%s")  # columns count from 1, and "{ " comes before
    assert start <= written[0]["locations"][0]["column"] < start + len(literal)


async def test_a_wrong_default_is_a_wrong_value_too() -> None:
    (error,) = await errors("query ($n: Int = [true]) { items(first: $n) { nodes { id } } }")
    assert (error["extensions"]["code"], error["locations"]) == ("BAD_USER_INPUT", [{"line": 1, "column": 18}])


async def test_each_error_has_its_own_code() -> None:
    found = await errors('{ items(first: "many") { nodes { id colour } } }')
    codes = {error["extensions"]["code"] for error in found}
    assert codes == {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}
    missing = await errors("{ item { id } }")
    assert [error["extensions"]["code"] for error in missing] == ["GRAPHQL_VALIDATION_FAILED"]
