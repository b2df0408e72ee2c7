"""Odd elements for every field of the inputs, and how GraphQL's own types read and write them."""

import json
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from graphql import GraphQLInputObjectType, GraphQLList, Undefined, get_nullable_type, is_list_type, parse_value
from graphql.utilities import coerce_input_literal, coerce_input_value

from api.graphql.schema import build_schema
from engine.outcomes import MAX_ELEMENTS

SEED = 8
_SCHEMA = build_schema()._schema
_WIDER = frozenset({"quantity", "unitPrice", "value"})
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def _nested(levels: int) -> Any:
    """Objects in objects; the innermost value is a level of its own."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value}
    return value


TIMES = [
    "2026-01-05T12:00:00Z", "2026-01-05t12:00:00z", "2026-01-05 12:00:00+01:00", "2026-01-05T12:00:00.1234567890123Z",
    "2026-01-05T12:00:00.Z", "2026-01-05T12:00:60Z", "2026-01-05T24:00:00Z", "2026-01-05T12:00:00+24:00",
    "2026-01-05T12:00:00-23:59", "2026-01-05T12:00:00", "2026-01-05", "20260105T120000Z", "2026-W02-1T12:00:00Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
    "2026-02-30T12:00:00Z", "2026-01-05T12:00Z", "2026-01-05T12:00:00Z\n", "2999-01-01T00:00:00Z",
    "٢٠٢٦-01-05T12:00:00Z", "2026-01-05T12:00:00." + "1" * 100 + "Z", "1767614400", "now",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 1.5, 2.0, -0.0, 12.5, 1e3, 1e-7, 0.1 + 0.2, 2**31, 2**53 + 1, 2**63, 10**20, 1_000_000, 1_000_001,
    "0", "-0", "1", "12", "007", " 12 ", "12.50", "1.50000", "0.00001", "1_0", "1e3", "1E3", "+1", "0x10", ".5", "5.",
    "-1", "1,5", "12.5\n", "NaN", "nan", "Infinity", "-Infinity", "99999999999", "9999999999.9999", "1" * 29, "١٢",
    "0" * 20 + "1",
]  # fmt: skip
TEXTS = [
    "", " ", "a", "a ", " a", "a\x00b", "a\nb", "\x7f", "\x85", "\u202e", "\u200b", "🛒", "x" * 128, "x" * 129,
    "x" * 1_000, "x" * 1_001, "x" * 2_001, "x" * 20_001, "EUR", "eur", "XXX", "yes", "true", "null", "VIEW", "'; --",
    "https://shop.example/a", "HTTP://shop.example", "https://shop.example/a b", "shop://a", "javascript://%0aalert(1)",
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, [], [None], ["a"], ["a", ""], [1], [True], [["a"]], ["a"] * 101, ["a"] * 501, {}, {"a": 1},
    {"": 1}, {"a\x00": 1}, {"a": "\x00"}, {"a": "\\u0000"}, {"a": None}, {"a": 2**63}, {"a": 2**63 - 1}, {"a": "é"},
    {"a": "x" * 16_400}, _nested(20), _nested(60), [{}], [{"price": "1"}], [{}, {}], {"price": "1"},
    [{"market": "a"}, {"market": "b"}], [{"market": None}, {}], [{"price": 1, "currency": "EUR"}], [None, {}], ["{}"],
]  # fmt: skip
VALUES: list[Any] = orjson.loads(json.dumps([*TIMES, *NUMBERS, *TEXTS, *OTHERS]))  # as JSON holds them


def odd_elements(kind: GraphQLInputObjectType, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The element `base` with each odd value in each field, then with odd values in several fields."""
    for name in kind.fields:
        yield from ({**base, name: value} for value in VALUES)
    chance = random.Random(SEED)  # noqa: S311 -- no secret
    for _ in range(150):
        names = chance.sample(list(kind.fields), min(3, len(kind.fields)))
        yield {**base, **{name: chance.choice(VALUES) for name in names}}


def as_read(kind: Any, value: Any) -> Any:
    """The value as GraphQL's own types read it: a whole number is an ID, and one value is a list of one."""
    kind = get_nullable_type(kind)
    if value is None:
        return None
    if isinstance(kind, GraphQLList):
        return [as_read(kind.of_type, one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(kind, GraphQLInputObjectType):
        if not isinstance(value, dict):
            return value
        return {
            name: as_read(kind.fields[name].type, one) if name in kind.fields else one for name, one in value.items()
        }
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return str(int(value)) if kind.name == "ID" and whole else value


def in_plain_notation(element: Mapping[str, Any]) -> dict[str, Any]:
    """The event with amounts and quantity as GraphQL writes them; version 1 takes more notations over HTTP."""
    return dict(element) | {name: _plainly(name, element[name]) for name in _WIDER & element.keys()}


def _plainly(name: str, value: Any) -> Any:
    if name == "quantity":
        return int(value) if isinstance(value, str) and re.fullmatch("[0-9]+", value) else value
    if isinstance(value, float):
        return str(value)
    return re.sub(r"^\.", "0.", re.sub(r"\.$", "", value)) if isinstance(value, str) and len(value) > 1 else value


def in_long_form(element: Mapping[str, Any]) -> dict[str, Any]:
    """The item with objects for plain prices and links, as GraphQL writes them; over HTTP the plain ones are short."""
    inside = {"price": "amount", "listPrice": "amount", "image": "url"}
    short = {name for name in inside.keys() & element.keys() if isinstance(element[name], str | int | float)}
    return dict(element) | {name: {inside[name]: element[name]} for name in short}


def literal(value: Any) -> str | None:
    """The value as GraphQL writes it in a document; None when it has a key that cannot be written there."""
    if isinstance(value, dict):
        inside = {name: literal(one) for name, one in value.items()}
        if not all(NAME.fullmatch(name) and text for name, text in inside.items()):
            return None
        return "{" + ", ".join(f"{name}: {text}" for name, text in inside.items()) + "}"
    if isinstance(value, list):
        texts = [literal(one) for one in value]
        return None if None in texts else "[" + ", ".join(map(str, texts)) + "]"
    return json.dumps(value)


def input_type(name: str) -> GraphQLInputObjectType:
    """The input of this name in the schema that serves."""
    found = _SCHEMA.get_type(name)
    assert isinstance(found, GraphQLInputObjectType)
    return found


def is_readable(kind: GraphQLInputObjectType, value: Any) -> bool:
    """Whether GraphQL's types and bounds accept the value of a variable; else the whole call is refused."""
    return coerce_input_value(value, kind) is not Undefined and not _has_long_list(kind, value)


def _has_long_list(kind: GraphQLInputObjectType, value: dict[str, Any]) -> bool:
    lists = (value.get(name) for name, field in kind.fields.items() if is_list_type(get_nullable_type(field.type)))
    return any(isinstance(elements, list) and len(elements) > MAX_ELEMENTS for elements in lists)


def is_readable_literal(kind: GraphQLInputObjectType, text: str) -> bool:
    """Whether GraphQL's types accept the literal."""
    return coerce_input_literal(parse_value(text), kind) is not Undefined
