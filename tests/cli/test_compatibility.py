"""Each way in which a new schema can refuse what the old one accepted, and the changes that refuse nothing."""

import json
from copy import deepcopy
from typing import Any

import pytest

from cli.schemas.compatibility import narrowings
from cli.schemas.event_schemas import event_schemas

TEXT = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[a-z]+$"}
NUMBER = {"type": "number", "minimum": 0, "maximum": 100}
OLD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"const": "VIEW"},
        "name": TEXT,
        "price": {"anyOf": [NUMBER, {"type": "string", "pattern": "^[0-9]+$"}, {"type": "null"}], "default": None},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "names": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 500},
        "open": {"type": "object"},
    },
    "required": ["type"],
    "anyOf": [{"required": ["name"]}, {"required": ["names"]}],
    "additionalProperties": False,
}


def field(name: str, **keywords: Any) -> dict[str, Any]:
    """The old schema with keywords of a field changed; None takes one away."""
    changed = {
        keyword: value for keyword, value in {**OLD["properties"][name], **keywords}.items() if value is not None
    }
    return {**OLD, "properties": {**OLD["properties"], name: changed}}


def without(name: str) -> dict[str, Any]:
    return {**OLD, "properties": {other: schema for other, schema in OLD["properties"].items() if other != name}}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (without("open"), "open: is gone"),
        ({**OLD, "required": ["type", "name"]}, "name: is required"),
        (field("type", const="CLICK"), "type: some of its values are gone"),
        (field("name", type="integer"), "name: its type is narrower"),
        (field("name", minLength=2), "name: minLength is higher"),
        (field("name", maxLength=127), "name: maxLength is lower"),
        (field("name", pattern="^[a-y]+$"), "name: pattern differs"),
        (field("name", format="uuid"), "name: format differs"),
        (field("name", enum=["a", "b"]), "name: some of its values are gone"),
        (field("currency", enum=["EUR"]), "currency: some of its values are gone"),
        (field("price", anyOf=[NUMBER, {"type": "null"}]), "price: its type is narrower"),
        (field("price", anyOf=[{**NUMBER, "minimum": 1}, *OLD["properties"]["price"]["anyOf"][1:]]),
         "price: minimum is higher"),
        (field("price", anyOf=[{**NUMBER, "maximum": 99}, *OLD["properties"]["price"]["anyOf"][1:]]),
         "price: maximum is lower"),
        (field("price", anyOf=None, type="number"), "price: its type is narrower"),
        (field("names", items={**TEXT, "maxLength": 5}), "names.[]: maxLength is lower"),
        (field("names", minItems=2), "names: minItems is higher"),
        (field("names", maxItems=10), "names: maxItems is lower"),
        (field("names", uniqueItems=True), "names: uniqueItems differs"),
        (field("open", additionalProperties=False), "open: unknown fields are refused"),
        (field("open", additionalProperties={"type": "string"}), "open: unknown fields are refused"),
        (field("open", properties={"a": {"type": "string"}}), "open.a: its type is narrower"),
        (field("open", required=["a"]), "open.a: is required"),
        ({**OLD, "anyOf": OLD["anyOf"][:1]}, "name: is required"),
        ({**OLD, "if": {"required": ["name"]}, "then": {"required": ["names"]}}, ": then differs"),
        ({**OLD, "not": {"required": ["open"]}}, ": not differs"),
    ],
)  # fmt: skip
def test_what_takes_less_is_told_with_its_field(new: dict[str, Any], said: str) -> None:
    assert said in list(narrowings(OLD, new))


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        {**OLD, "properties": {**OLD["properties"], "more": TEXT}},
        {**OLD, "required": []},
        {**OLD, "description": "In other words.", "$id": "urn:other"},
        {**OLD, "anyOf": [*OLD["anyOf"], {"required": ["open"]}]},
        {**OLD, "additionalProperties": True},
        field("name", minLength=0, maxLength=200),
        field("name", pattern=None),
        field("name", type=["string", "null"]),
        {**OLD, "properties": {**OLD["properties"], "name": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        field("type", const=None, enum=["VIEW", "GLANCE"]),
        field("currency", enum=["CHF", "EUR", "USD"]),
        field("currency", enum=None),
        field("price", anyOf=[*OLD["properties"]["price"]["anyOf"], {"type": "boolean"}]),
        field("names", items={"type": "string"}, minItems=None, maxItems=1000),
    ],
)  # fmt: skip
def test_what_takes_as_much_or_more_passes(new: dict[str, Any]) -> None:
    assert list(narrowings(OLD, new)) == []


@pytest.mark.parametrize("text", event_schemas().values(), ids=map(str, event_schemas()))
def test_any_field_of_a_real_schema_is_missed_when_it_is_gone_and_seen_when_it_must_be_given(text: str) -> None:
    schema = json.loads(text)
    assert list(narrowings(schema, schema)) == []
    for name in schema["properties"]:
        less, more = deepcopy(schema), deepcopy(schema)
        del less["properties"][name]
        assert f"{name}: is gone" in list(narrowings(schema, less))
        if name not in schema["required"]:
            more["required"].append(name)
            assert list(narrowings(schema, more)) == [f"{name}: is required"]
            assert list(narrowings(more, schema)) == []
