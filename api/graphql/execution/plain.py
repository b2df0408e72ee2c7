"""Completes values whose fields are all plain attributes, without graphql-core's work per field.

A completer takes what a resolver returned and returns what the answer contains. It handles the normal case only. For
any other value (a null where none is allowed, another class, a number out of range, something to await) it raises, and
graphql-core completes the same value from the start, with its own errors and paths. Attributes may be read twice.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
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

from api.graphql.execution.columns import Columns

Completer = Callable[[Any], Any]
PlainFields = tuple[tuple[str, str, Completer], ...]  # response name, attribute, completer

_INT = 2**31
_SCALARS = frozenset({str, int, float, bool, dict, list, datetime, Decimal})


class NotPlain(Exception):
    """The value is not the normal case: graphql-core must complete it."""


def attribute_of(field: GraphQLField) -> str | None:
    """The attribute that a field reads; None when the field has a resolver or a permission."""
    declared = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return declared.python_name if isinstance(declared, StrawberryField) and declared.is_basic_field else None


def nullable(complete: Completer) -> Completer:
    """Completes null as null, and other values with `complete`."""
    return lambda value: None if value is None else complete(value)


def list_of(complete: Completer) -> Completer:
    """Completes each element of a list, or each row of columns, with `complete`."""

    def complete_list(values: Any) -> Any:
        if values.__class__ is not list and not isinstance(values, Columns):
            raise NotPlain
        return [complete(value) for value in values]

    return complete_list


def object_of(type_: GraphQLObjectType, fields: PlainFields) -> Completer | None:
    """Completes objects of exactly the class of this GraphQL type.

    `Connection[Item]` is a GraphQL type of its own, but its objects are of the class `Connection`.
    """
    definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of is not None:
        return None
    expected = definition.concrete_of.origin if definition.concrete_of else definition.origin

    def complete_object(source: Any) -> Any:
        if source.__class__ is not expected:
            raise NotPlain
        return {name: complete(getattr(source, attribute)) for name, attribute, complete in fields}

    return complete_object


def typename_of(type_: GraphQLObjectType) -> Completer:
    """Completes any object with the name of the type."""
    name = type_.name
    return lambda _: name


def leaf_of(type_: GraphQLLeafType) -> Completer:
    """Completes a scalar or an enum. GraphQL's own scalars must be of exactly their Python class."""
    built_in = _BUILT_IN.get(type_.name)
    if built_in is not None:
        return built_in
    if isinstance(type_, GraphQLEnumType):
        return _enum_of(type_)
    return _custom(type_)


def _string(value: Any) -> Any:
    if value.__class__ is not str:
        raise NotPlain
    return value


def _int(value: Any) -> Any:
    if value.__class__ is not int or not -_INT <= value < _INT:
        raise NotPlain
    return value


def _float(value: Any) -> Any:
    if value.__class__ is not float or value - value != 0.0:  # NaN and the infinities
        raise NotPlain
    return value


def _boolean(value: Any) -> Any:
    if value.__class__ is not bool:
        raise NotPlain
    return value


_BUILT_IN: Mapping[str, Completer] = {
    GraphQLString.name: _string,
    GraphQLID.name: _string,
    GraphQLInt.name: _int,
    GraphQLFloat.name: _float,
    GraphQLBoolean.name: _boolean,
}


def _enum_of(type_: GraphQLEnumType) -> Completer:
    """Completes members of the Python enum behind the GraphQL enum with one look-up."""
    members = getattr(type_, "wrapped_cls", None)
    names = {member: type_.coerce_output_value(member) for member in members or ()}

    def complete_enum(value: Any) -> Any:
        if value.__class__ is not members:
            raise NotPlain
        return names[value]

    return complete_enum


def _custom(type_: GraphQLLeafType) -> Completer:
    """Completes any other scalar with its own function. Errors and awaitables are left to graphql-core."""
    coerce = type_.coerce_output_value

    def complete_scalar(value: Any) -> Any:
        if value.__class__ not in _SCALARS and (isinstance(value, Exception) or hasattr(value, "__await__")):
            raise NotPlain
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise NotPlain
        return coerced

    return complete_scalar
