"""Variables are compared with the bounds in the schema before they are coerced, and only where a field uses them."""

from typing import Any

import pytest
from graphql import GraphQLError

from api.errors import RequestRefused, public_errors
from api.graphql.request.answering import Operations
from api.graphql.request.coercion import coerce_variables, plain_values
from api.graphql.request.documents import Documents
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.request.reading import GraphQLRequest
from api.graphql.request.variables import Inputs, check_variables
from api.graphql.schema import SCHEMA
from api.http.json_body import count_nodes
from core.errors import TooManyElements
from engine.scopes import SCOPES

ALL = frozenset(SCOPES)
TRENDING = "query ($filter: ItemFilter) { trending(filter: $filter) { nodes { id } } }"
UPSERT = "mutation ($items: [ItemInput!]!) { upsertItems(items: $items) { accepted } }"
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"
BY_IDS = "query ($ids: [ID!]!) { items(ids: $ids) { nodes { id } } }"
HISTORY = "query ($types: [EventType!]) { me { history(types: $types) { nodes { id } } } }"


def inputs_of(query: str, scopes: frozenset[str] = ALL) -> Inputs:
    documents = Documents(SCHEMA._schema)
    document = documents.read(query)
    return documents.inputs(document, document.operation(None), scopes)


def visits(query: str, **values: Any) -> int:
    return check_variables(inputs_of(query), values, count_nodes(values, "variables"))


def refusal(query: str, **values: Any) -> str:
    with pytest.raises((GraphQLError, RequestRefused, TooManyElements)) as refused:
        visits(query, **values)
    error = refused.value
    return error.message if isinstance(error, GraphQLError) else str(error)


def faults(query: str, **values: Any) -> list[str]:
    with pytest.raises(DocumentInvalid) as refused:
        coerce_variables(SCHEMA._schema, inputs_of(query), values)
    assert refused.value.code == "BAD_USER_INPUT"
    shown = public_errors(refused.value.errors, "r1", default=refused.value.code)
    assert all(len(error["message"]) <= 200 and error["locations"] for error in shown)
    return [error["message"] for error in shown]


def test_the_pass_looks_at_objects_and_lists_alone_once_each() -> None:
    item = {"id": "1", "title": "x", "categories": ["a"] * 50, "offers": [{"price": "1"}] * 5, "attributes": [[[]]]}
    assert visits(UPSERT, items=[item] * 100) == 1 + 100 * (1 + 1 + 1 + 5 + 1)


@pytest.mark.parametrize(
    ("query", "values", "expected"),
    [
        (TRENDING, {"filter": {"anyOf": [{}] * 500}}, "$filter.anyOf is too large: ItemFilter"),
        (TRENDING, {"filter": {"ids": ["x"] * 501}}, "$filter.ids has 501 elements: at most 500"),
        (TRENDING, {"filter": {"not": {"ids": ["x"] * 499}}}, "$filter.not.ids is too large"),
        (TRENDING, {"filter": {"not": {"not": {"not": {"not": {}}}}}}, "$filter.not.not.not.not is nested too deeply"),
        (TRENDING, {"filter": {"anyOf": {"anyOf": {"anyOf": {"anyOf": {}}}}}}, "nested too deeply"),
        (UPSERT, {"items": [{"id": "1"}, {"id": "2", "offers": [{}] * 501}]}, "$items[1].offers has 501 elements"),
        (UPSERT, {"items": [{"id": "1", "categories": ["x"] * 501}]}, "$items[0].categories has 501 elements"),
        (TRACK, {"events": [{"itemIds": ["x"] * 501}]}, "$events[0].itemIds has 501 elements"),
        (HISTORY, {"types": ["VIEW"] * 501}, "$types has 501 elements"),
    ],
)
def test_inputs_beyond_a_bound_are_refused_by_name(query: str, values: dict[str, Any], expected: str) -> None:
    assert expected in refusal(query, **values)


def test_the_pass_stops_at_the_bound() -> None:
    bombs: dict[str, Any] = {"filter": {"anyOf": [{"anyOf": [{}] * 40}] * 40}}
    assert "too large" in refusal(TRENDING, **bombs)
    assert visits(TRENDING, filter={"anyOf": [{}] * 499}) == 501


@pytest.mark.parametrize("query", [UPSERT, TRACK])
def test_a_batch_of_more_than_500_elements_is_too_many(query: str) -> None:
    name = "items" if query is UPSERT else "events"
    assert refusal(query, **{name: [{}] * 501}) == "A call may have at most 500 elements, not 501."


def test_a_variable_has_the_smallest_bound_of_all_its_uses() -> None:
    query = "query ($ids: [ID!]) { me { recommendations(%s) { impressionId } } }"
    assert visits(query % "among: $ids", ids=["x"] * 401) == 1
    assert "at most 400" in refusal(query % "among: $ids, exclude: $ids", ids=["x"] * 401)


def test_each_use_of_a_variable_counts() -> None:
    fields = " ".join(
        f"a{n}: me {{ recommendations(filter: {{anyOf: [$f $f $f $f $f $f]}}) {{ cause: impressionId }} }}"
        for n in range(18)
    )
    query = f"query ($f: ItemFilter!) {{ {fields} }}"
    assert "each use counted" in refusal(query.replace("cause: ", ""), f={"ids": ["x"] * 490})
    assert visits(query.replace("cause: ", ""), f={"ids": ["x"] * 100}) == 2


def test_doubling_fragments_are_walked_once() -> None:
    chain = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(30))
    query = f"query ($f: ItemFilter) {{ ...F0 ...F0 }} {chain} fragment F30 on Query {{ ...F31 }}"
    query += " fragment F31 on Query { trending(filter: $f) { nodes { id } } }"
    assert inputs_of(query).most_uses == 1


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        ("trending(filter: {anyOf: [" + "{} " * 500 + "]}) { nodes { id } }", "BAD_USER_INPUT"),
        ("trending(filter: {not: {not: {not: {not: {}}}}}) { nodes { id } }", "BAD_USER_INPUT"),
        ("items(ids: [" + '"x" ' * 501 + "]) { nodes { id } }", "BAD_USER_INPUT"),
    ],
)
def test_literals_have_the_same_bounds_with_their_place(literal: str, code: str) -> None:
    with pytest.raises(DocumentInvalid) as refused:
        Documents(SCHEMA._schema).read("{ " + literal + " }")
    assert refused.value.code == code
    assert refused.value.errors[0].locations


def test_a_default_value_has_the_bound_of_its_variable() -> None:
    query = "query ($ids: [ID!] = [" + '"x" ' * 501 + "]) { items(ids: $ids) { nodes { id } } }"
    with pytest.raises(DocumentInvalid, match="501 elements"):
        Documents(SCHEMA._schema).read(query)


def test_a_literal_batch_of_more_than_500_elements_is_413() -> None:
    query = "mutation { removeItems(ids: [" + '"x" ' * 501 + "]) { accepted } }"
    with pytest.raises(RequestRefused) as refused:
        Documents(SCHEMA._schema).read(query)
    assert (refused.value.code, refused.value.status) == ("PAYLOAD_TOO_LARGE", 413)


def test_only_variables_of_permitted_fields_are_coerced() -> None:
    query = """query ($f: ItemFilter, $id: ID!, $skip: Boolean!) {
        trending(filter: $f) @skip(if: $skip) { nodes { id } } item(id: $id) { id } }"""
    assert [one.name for one in inputs_of(query).variables] == ["f", "id", "skip"]
    assert [one.name for one in inputs_of(query, frozenset({"catalog:read"})).variables] == ["id", "skip"]
    assert [one.name for one in inputs_of(query, frozenset()).variables] == ["skip"]


def test_variables_of_a_persons_own_fields_are_always_coerced() -> None:
    scopes = frozenset({"recommendations:read"})
    assert [one.name for one in inputs_of(HISTORY, scopes).variables] == ["types"]
    assert inputs_of(HISTORY, frozenset()).variables == []


@pytest.mark.parametrize(
    ("query", "values", "expected"),
    [
        (UPSERT, {}, "Variable '$items' has an invalid value: it must be sent, as [ItemInput!]!."),
        (UPSERT, {"items": None}, "Variable '$items' has an invalid value: [ItemInput!] must not be null."),
        (UPSERT, {"items": [None]}, "at items[0]: ItemInput must not be null."),
        (UPSERT, {"items": [{}]}, "at items[0]: ItemInput needs the field id."),
        (UPSERT, {"items": [{"id": "1", "True": 1}]}, 'at items[0]: ItemInput has no field "True".'),
        (UPSERT, {"items": [{"id": True}]}, "at items[0].id: this is not an ID: true."),
        (UPSERT, {"items": [{"id": {"a": None}}]}, "at items[0].id: this is not an ID: an object."),
        (UPSERT, {"items": True}, "Variable '$items' has an invalid value: ItemInput must be an object, not true."),
        (UPSERT, {"items": [{"id": "1", "updatedAt": None, "title": 1.5}]}, "title: this is not a String: 1.5."),
        (TRACK, {"events": [{"type": "NONE"}]}, 'at events[0].type: this is not an EventType: "NONE".'),
        (UPSERT, {"items": [{"id": "1", "updatedAt": False}]}, "2026-01-31T12:00:00Z): false"),
    ],
)
def test_wrong_variables_are_explained_in_json(query: str, values: dict[str, Any], expected: str) -> None:
    (message,) = faults(query, **values)
    assert expected in message


def test_explanations_are_few_and_short() -> None:
    assert len(faults(UPSERT, items=[{"id": {}}] * 400)) == 5
    for wrong in ("x" * 900_000, ["x" * 900_000], {"x" * 900_000: 1}, 2**63):
        for message in faults(HISTORY, types=[wrong]):
            assert "xxxx" not in message or message.count("x") < 90
    (message,) = faults(UPSERT, items=[{"id": "1", "x" * 500_000: None}])
    assert len(message) <= 200


def test_what_graphql_accepts_is_not_refused() -> None:
    inputs = inputs_of(
        'query ($ids: [ID!] = ["a"], $first: Int! = 5) { items(ids: $ids, first: $first) { nodes { id } } }'
    )
    assert coerce_variables(SCHEMA._schema, inputs, {}).coerced == {"ids": ["a"], "first": 5}
    assert coerce_variables(SCHEMA._schema, inputs, {"ids": 7, "unknown": 1}).coerced == {"ids": ["7"], "first": 5}


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        (["a", "b"], True),
        ([], True),
        (["a", None], False),
        ([7], False),  # graphql-core makes a text of it
        (["a", True], False),
        ("a", False),  # and a list of that
        ([["a"]], False),
    ],
)
def test_lists_that_graphql_core_would_take_as_they_are_need_no_coercion(values: Any, plain: bool) -> None:
    inputs = inputs_of(BY_IDS)
    found = plain_values(SCHEMA._schema, inputs, {"ids": values})
    assert (found is not None) is plain
    if found is not None:
        by_graphql = coerce_variables(SCHEMA._schema, inputs, {"ids": values})
        assert found.coerced == by_graphql.coerced
        assert found.sources["ids"].value == by_graphql.sources["ids"].value


def test_a_list_that_needs_no_coercion_has_its_bound_all_the_same() -> None:
    query, ids = "query ($ids: [ID!]!) { items(ids: $ids) { nodes { id } } }", ["x"] * 501
    assert plain_values(SCHEMA._schema, inputs_of(query), {"ids": ids}) is not None
    with pytest.raises(DocumentInvalid) as refused:
        Operations(SCHEMA._schema, 5)._check_and_coerce(
            inputs_of(query), GraphQLRequest(query, None, {"ids": ids}, 501)
        )
    assert "501 elements" in refused.value.errors[0].message
