"""Input types of the GraphQL schema as JSON Schemas, for parameters that hold one as JSON."""

from collections.abc import Iterator
from typing import Any, Final

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    is_required_input_field,
)

from core.amounts import PLAIN_AMOUNT

Schema = dict[str, Any]

_SCALARS: Final[dict[str, Schema]] = {
    "ID": {"type": ["string", "integer"]},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "Decimal": {"type": "string", "pattern": PLAIN_AMOUNT},
}


def input_schemas(schema: GraphQLSchema, name: str) -> dict[str, Schema]:
    """The schema of the input type of this name, and those of the types inside it, by name."""
    found: dict[str, Schema] = {}
    waiting = [schema.type_map[name]]
    while waiting:
        kind = waiting.pop()
        assert isinstance(kind, GraphQLInputObjectType)
        if kind.name not in found:
            found[kind.name] = _schema(kind)
            waiting += _inside(kind)
    return found


def _schema(kind: GraphQLInputObjectType) -> Schema:
    fields = kind.fields.items()
    return {
        "type": "object",
        "description": kind.description or "",
        "properties": {
            name: _of(field.type) | ({"description": field.description} if field.description else {})
            for name, field in fields
        },
        "required": [name for name, field in fields if is_required_input_field(field)],
        "additionalProperties": False,
    }


def _of(kind: GraphQLInputType) -> Schema:
    if isinstance(kind, GraphQLNonNull):
        return _not_null(kind.of_type)
    return {"anyOf": [_not_null(kind), {"type": "null"}]}


def _not_null(kind: GraphQLInputType) -> Schema:
    if isinstance(kind, GraphQLList):
        return {"type": "array", "items": _of(kind.of_type)}
    if isinstance(kind, GraphQLInputObjectType):
        return {"$ref": f"#/components/schemas/{kind.name}"}
    return dict(_SCALARS[str(kind)])


def _inside(kind: GraphQLInputObjectType) -> Iterator[GraphQLInputObjectType]:
    for field in kind.fields.values():
        named: Any = field.type
        while isinstance(named, GraphQLNonNull | GraphQLList):
            named = named.of_type
        if isinstance(named, GraphQLInputObjectType):
            yield named
