"""The committed JSON Schemas, held against all that speaks of events: the reader, GraphQL and the loader."""

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
from cli.loading.fields import FIELDS, Kind
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


def told(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, "userId": "u1", **NEEDED.get(type, {"itemId": "i1"}), **fields}


def taken(raw: Mapping[str, Any]) -> bool:
    try:
        read_event(raw, source="shop", received_at=NOW)
    except InvalidInput:
        return False
    return True


def valid(raw: Mapping[str, Any]) -> bool:
    return bool(Draft202012Validator(SCHEMAS[raw["type"]]).is_valid(raw))


def alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a field may be, but for null."""
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
def test_what_is_taken_is_valid_for_a_validator_we_did_not_write(type: str) -> None:
    for raw in (
        told(type),
        told(type, **WHOLE),
        told(type, userId=None, anonymousId="g"),
        told(type, **dict.fromkeys(["id", "source", "occurredAt", "quantity", "sessionId", "properties"])),
        told(type, quantity="07", value=".5", unitPrice="12."),
        told(type, occurredAt="2026-02-28 12:00:00z"),
    ):
        assert taken(raw) and valid(raw), raw


@pytest.mark.parametrize("type", EventType)
def test_what_a_type_requires_is_required_by_schema_and_reader_alike(type: str) -> None:
    required = set(SCHEMAS[type]["required"]) - {"type"}
    assert required == set(NEEDED.get(type, {"itemId": "i1"}))
    for name in required | {"userId"}:
        for raw in (told(type, **{name: None}), {k: v for k, v in told(type).items() if k != name}):
            assert not valid(raw) and not taken(raw), raw


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
def test_what_the_schema_refuses_is_refused(bad: dict[str, Any]) -> None:
    for type in EventType:
        assert not valid(told(type, **bad)) and not taken(told(type, **bad)), type


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**7), st.floats(allow_nan=False, allow_infinity=False), st.text(),
    st.sampled_from(["EUR", "0", "1.50", "1e5", "-1", "7", "2026-02-01T12:00:00Z", "\x00", "x"]),
    st.from_regex(r"[0-9. _+-]{1,16}"), st.lists(st.text(min_size=1), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(EventType), st.dictionaries(st.sampled_from([*fields_of(*EventType), "colour"]), anything))
def test_whatever_is_taken_is_valid(type: EventType, said: dict[str, Any]) -> None:
    raw = {**told(type), **said, "type": str(type)}
    assert valid(raw) or not taken(raw)


def test_graphql_takes_the_fields_of_the_schemas_and_requires_what_all_of_them_require() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    told, types = schema.get_type("EventInput"), schema.get_type("EventType")
    assert isinstance(told, GraphQLInputObjectType) and isinstance(types, GraphQLEnumType)
    assert set(types.values) == set(SCHEMAS)
    assert set(told.fields) == set(fields_of(*SCHEMAS))
    always = set.intersection(*(set(schema["required"]) for schema in SCHEMAS.values()))
    assert {name for name, field in told.fields.items() if is_non_null_type(field.type)} == always
    for name, field in told.fields.items():
        assert graphql_types(name) >= {str(field.type).rstrip("!")}, name


def graphql_types(name: str) -> set[str]:
    """The GraphQL types that can say what the schemas have under this name."""
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


def test_the_event_that_is_stored_has_the_fields_of_the_schemas_and_when_it_came() -> None:
    assert {to_camel(name) for name in Event.model_fields} == {*fields_of(*SCHEMAS), "receivedAt"}
