"""Completes values whose fields are all plain attributes, without graphql-core's work per field.

A completer takes what a resolver returned and gives what the answer holds. It knows the good case only: whatever is
odd (a null where none may be, another class, a number out of range, something to await) raises, and then graphql-core
completes the same value from its beginning, with its own errors and paths. Reading attributes twice harms nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLString,
    Undefined,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

Completer = Callable[[Any], Any]
PlainFields = tuple[tuple[str, str, Completer], ...]  # response name, attribute, completer

_INT = 2**31
_SCALARS = frozenset({str, int, float, bool, dict, list})


class Odd(Exception):
    """Not the good case: graphql-core is to complete this value."""


def attribute_of(field: GraphQLField) -> str | None:
    """The attribute a field reads when it is nothing but that; None when it has a resolver or a permission."""
    known = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return known.python_name if isinstance(known, StrawberryField) and known.is_basic_field else None


def nullable(complete: Completer) -> Completer:
    """Null stays null."""
    return lambda value: None if value is None else complete(value)


def list_of(complete: Completer) -> Completer:
    """Each element by itself."""

    def complete_list(values: Any) -> Any:
        if values.__class__ is not list:
            raise Odd
        return [complete(value) for value in values]

    return complete_list


def object_of(type_: GraphQLObjectType, fields: PlainFields) -> Completer | None:
    """Objects of exactly the class that is this GraphQL type."""
    definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of is not None:
        return None
    origin = definition.origin

    def complete_object(source: Any) -> Any:
        if source.__class__ is not origin:
            raise Odd
        return {name: complete(getattr(source, attribute)) for name, attribute, complete in fields}

    return complete_object


def typename_of(type_: GraphQLObjectType) -> Completer:
    """The type's name, whatever the object."""
    name = type_.name
    return lambda _: name


def leaf_of(type_: GraphQLLeafType) -> Completer:
    """The scalar or enum, by exact class where GraphQL has a type of its own for it."""
    known = _BUILT_IN.get(type_.name)
    if known is not None:
        return known
    if isinstance(type_, GraphQLEnumType):
        return _enum_of(type_)
    return _custom(type_)


def _string(value: Any) -> Any:
    if value.__class__ is not str:
        raise Odd
    return value


def _int(value: Any) -> Any:
    if value.__class__ is not int or not -_INT <= value < _INT:
        raise Odd
    return value


def _float(value: Any) -> Any:
    if value.__class__ is not float or value - value != 0.0:  # NaN and the infinities
        raise Odd
    return value


def _boolean(value: Any) -> Any:
    if value.__class__ is not bool:
        raise Odd
    return value


_BUILT_IN: Mapping[str, Completer] = {
    GraphQLString.name: _string,
    GraphQLID.name: _string,
    GraphQLInt.name: _int,
    GraphQLFloat.name: _float,
    GraphQLBoolean.name: _boolean,
}


def _enum_of(type_: GraphQLEnumType) -> Completer:
    """Members of the Python enum behind it; their hash is the enum's own, so a look-up is enough."""
    members = getattr(type_, "wrapped_cls", None)
    names = {member: type_.coerce_output_value(member) for member in members or ()}

    def complete_enum(value: Any) -> Any:
        if value.__class__ is not members:
            raise Odd
        return names[value]

    return complete_enum


def _custom(type_: GraphQLLeafType) -> Completer:
    """Any other scalar by its own function; what could be awaited or is an error is not for it to judge."""
    coerce = type_.coerce_output_value

    def complete_scalar(value: Any) -> Any:
        if value.__class__ not in _SCALARS and (isinstance(value, Exception) or hasattr(value, "__await__")):
            raise Odd
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise Odd
        return coerced

    return complete_scalar
