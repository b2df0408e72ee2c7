"""The committed JSON Schemas agree with everything that reads events: the contract, GraphQL and the loader."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, build_schema, is_non_null_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic.alias_generators import to_camel, to_snake

from cli.loading import events as loading
from cli.loading.columns import FIELDS, Kind
from core.contract import Event, EventType, read_event
from core.errors import InvalidInput

ROOT = Path(__file__).parents[2]
SCHEMAS: dict[str, dict[str, Any]] = {
    schema["properties"]["type"]["const"]: schema
    for schema in (json.loads(path.read_text()) for path in sorted((ROOT / "schemas" / "v1").glob("*.json")))
}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEEDED: dict[str, dict[str, Any]] = {
    "SEARCH": {"query": "tea"},
    "IMPRESSION": {"itemIds": ["i1", "🛒"]},
    "RATING": {"itemId": "i1", "value": "4.5"},
}


def make_raw(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, "userId": "u1", **NEEDED.get(type, {"itemId": "i1"}), **fields}


def accepted(raw: Mapping[str, Any]) -> bool:
    try:
        read_event(raw, source="shop", received_at=NOW)
    except InvalidInput:
        return False
    return True


def valid(raw: Mapping[str, Any]) -> bool:
    return bool(Draft202012Validator(SCHEMAS[raw["type"]]).is_valid(raw))


def alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a field, except null."""
    return [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]


def fields_of(*types: str) -> dict[str, Mapping[str, Any]]:
    """The fields of these types."""
    return {name: field for type in types for name, field in SCHEMAS[type]["properties"].items()}


def test_there_is_a_schema_of_the_draft_for_every_type() -> None:
    assert set(SCHEMAS) == set(EventType)
    for type, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"urn:penchant:event:v1:{type}"
        assert schema["additionalProperties"] is False and "receivedAt" not in schema["properties"]


WHOLE: dict[str, Any] = {
    "id": "e1", "source": "till", "occurredAt": "2026-02-28T12:00:00.123+01:00", "anonymousId": "g1", "itemId": "i 1",
    "itemIds": ["i1"], "orderId": "o1", "quantity": 2, "unitPrice": "12.50", "currency": "EUR", "value": 3.5,
    "query": "tea\ntwo", "impressionId": "x" * 1024, "sessionId": "s", "properties": {"a": [None, {"b": 1.5}]},
}  # fmt: skip


@pytest.mark.parametrize("type", EventType)
def test_accepted_events_are_valid_for_an_independent_validator(type: str) -> None:
    for raw in (
        make_raw(type),
        make_raw(type, **WHOLE),
        make_raw(type, userId=None, anonymousId="g"),
        make_raw(type, **dict.fromkeys(["id", "source", "occurredAt", "quantity", "sessionId", "properties"])),
        make_raw(type, quantity="07", value=".5", unitPrice="12."),
        make_raw(type, occurredAt="2026-02-28 12:00:00z"),
    ):
        assert accepted(raw) and valid(raw), raw


@pytest.mark.parametrize("type", EventType)
def test_schema_and_contract_require_the_same_fields(type: str) -> None:
    required = set(SCHEMAS[type]["required"]) - {"type"}
    assert required == set(NEEDED.get(type, {"itemId": "i1"}))
    for name in required | {"userId"}:
        for raw in (make_raw(type, **{name: None}), {k: v for k, v in make_raw(type).items() if k != name}):
            assert not valid(raw) and not accepted(raw), raw


BAD: list[dict[str, Any]] = [
    {"colour": "red"}, {"receivedAt": "2026-03-01T12:00:00Z"}, {"user_id": "u1"},
    {"id": "e1"}, {"id": "e1", "occurredAt": None}, {"id": ""}, {"source": ""}, {"source": "a\x00"},
    {"occurredAt": "yesterday"}, {"occurredAt": "2026-02-28"}, {"occurredAt": "2026-02-28T12:00:00"},
    {"occurredAt": "20260228T120000Z"}, {"occurredAt": "2026-W09-1T12:00:00Z"}, {"occurredAt": 1767614400},
    {"userId": 7}, {"userId": "a\x85"}, {"anonymousId": "x" * 129}, {"itemId": "\x7f"}, {"itemIds": []},
    {"itemIds": ["a"] * 501}, {"itemIds": "a"}, {"itemIds": ["a", ""]}, {"orderId": "x" * 129}, {"sessionId": []},
    {"quantity": 0}, {"quantity": -1}, {"quantity": 1.5}, {"quantity": True}, {"quantity": 1_000_001},
    {"quantity": "-2"}, {"quantity": "1_0"}, {"quantity": " 1"}, {"quantity": "٣"}, {"quantity": "NaN"},
    {"unitPrice": -0.01}, {"unitPrice": "-0"}, {"unitPrice": "NaN"}, {"unitPrice": "Infinity"}, {"unitPrice": "1e3"},
    {"unitPrice": "1_0"}, {"unitPrice": "0.00001"}, {"unitPrice": True}, {"unitPrice": 10**10}, {"unitPrice": "٣"},
    {"value": "."}, {"value": "1,5"}, {"value": "99999999999"}, {"value": {}}, {"currency": "EURO"},
    {"currency": "XXX"}, {"currency": "eur"}, {"query": ""}, {"query": "a\x00"}, {"query": "x" * 1025},
    {"impressionId": "x" * 1025}, {"properties": []}, {"properties": "a"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_the_contract_refuses_what_the_schema_refuses(bad: dict[str, Any]) -> None:
    for type in EventType:
        assert not valid(make_raw(type, **bad)) and not accepted(make_raw(type, **bad)), type


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**7), st.floats(allow_nan=False, allow_infinity=False), st.text(),
    st.sampled_from(["EUR", "0", "1.50", "1e5", "-1", "7", "2026-02-01T12:00:00Z", "\x00", "x"]),
    st.from_regex(r"[0-9. _+-]{1,16}"), st.lists(st.text(min_size=1), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(EventType), st.dictionaries(st.sampled_from([*fields_of(*EventType), "colour"]), anything))
def test_random_events_that_are_accepted_are_valid(type: EventType, said: dict[str, Any]) -> None:
    raw = {**make_raw(type), **said, "type": str(type)}
    assert valid(raw) or not accepted(raw)


def test_graphql_has_the_fields_of_the_schemas_and_requires_those_that_every_schema_requires() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    input, types = schema.get_type("EventInput"), schema.get_type("EventType")
    assert isinstance(input, GraphQLInputObjectType) and isinstance(types, GraphQLEnumType)
    assert set(types.values) == set(SCHEMAS)
    assert set(input.fields) == set(fields_of(*SCHEMAS))
    always = set.intersection(*(set(schema["required"]) for schema in SCHEMAS.values()))
    assert {name for name, field in input.fields.items() if is_non_null_type(field.type)} == always
    for name, field in input.fields.items():
        assert graphql_types(name) >= {str(field.type).rstrip("!")}, name


def graphql_types(name: str) -> set[str]:
    """The GraphQL types that can hold this field of the schemas."""
    if name == "type":
        return {"EventType"}
    words = {
        "number": {"Decimal"}, "integer": {"Int"}, "object": {"JSON"}, "array": {"[ID!]"},
        "date-time": {"DateTime"}, "string": {"ID", "String"},
    }  # fmt: skip
    first = alternatives(fields_of(*SCHEMAS)[name])[0]
    return words[first.get("format") or first["type"]]


def test_the_loader_has_a_column_of_the_right_kind_for_every_field() -> None:
    fields = fields_of(*SCHEMAS)
    assert FIELDS[Kind.EVENTS] == set(fields)
    columns = {field.name: field.type for field in loading._SCHEMA}
    assert set(columns) - {"digest"} == {to_snake(name) for name in fields}
    for name, field in fields.items():
        first = alternatives(field)[0]
        kinds = {"integer": pa.int32(), "date-time": pa.timestamp("us", "UTC")}
        assert columns[to_snake(name)] == kinds.get(first.get("format") or first["type"], pa.string()), name


def test_a_stored_event_has_the_fields_of_the_schemas_and_the_time_it_was_received() -> None:
    assert {to_camel(name) for name in Event.model_fields} == {*fields_of(*SCHEMAS), "receivedAt"}
