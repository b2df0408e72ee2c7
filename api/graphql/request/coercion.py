"""Coerces variables with graphql-core, and says in JSON's words what is wrong with them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLLeafType,
    GraphQLSchema,
    get_variable_values,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    is_specified_scalar_type,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource

from api.errors import MAX_ERRORS
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.request.variables import Inputs, Variable
from api.graphql.types.scalars import shown

_Fault = tuple[str, str]  # path, what is wrong there


def coerce_variables(schema: GraphQLSchema, inputs: Inputs, values: Mapping[str, Any]) -> VariableValues:
    """The variables as resolvers get them; raises DocumentInvalid when they do not match their types."""
    definitions = [variable.definition for variable in inputs.variables]
    coerced = get_variable_values(schema, definitions, dict(values), max_errors=1, hide_suggestions=True)
    if isinstance(coerced, VariableValues):
        return coerced
    errors = islice((error for one in inputs.variables for error in _errors(one, values)), MAX_ERRORS)
    raise DocumentInvalid("BAD_USER_INPUT", list(errors) or coerced[:1])


def plain_values(schema: GraphQLSchema, inputs: Inputs, values: Mapping[str, Any]) -> VariableValues | None:
    """The variables when each is sent, and is what graphql-core would take as it is; else None.

    That is a scalar, or a list of scalars: who takes a list checks its bound.
    """
    sources, coerced = {}, {}
    for variable in inputs.variables:
        name = variable.name
        value = values.get(name)
        elements, plain = ([value], variable.plain) if value.__class__ is not list else (value, variable.plain_elements)
        if plain is None:
            return None
        for element in elements:
            if element.__class__ is not plain:
                return None
            if isinstance(element, int) and not GRAPHQL_MIN_INT <= element <= GRAPHQL_MAX_INT:
                return None
        if variable.signature is None:
            signature = get_variable_signature(schema, variable.definition)
            if isinstance(signature, GraphQLError):
                return None
            variable.signature = signature
        sources[name], coerced[name] = VariableValueSource(variable.signature, value), value
    return VariableValues(sources, coerced)


def _errors(variable: Variable, values: Mapping[str, Any]) -> Iterator[GraphQLError]:
    name = variable.name
    if name in values:
        faults = _faults(values[name], variable.type_, name)
    elif is_non_null_type(variable.type_) and variable.definition.default_value is None:
        faults = iter([(name, f"it must be sent, as {variable.type_}.")])
    else:
        return
    for path, fault in faults:
        place = "" if path == name else f" at {path}"
        yield GraphQLError(f"Variable '${name}' has an invalid value{place}: {fault}", variable.definition)


def _faults(value: Any, type_: Any, path: str) -> Iterator[_Fault]:
    if is_non_null_type(type_):
        type_ = type_.of_type
        if value is None:
            yield path, f"{type_} must not be null."
            return
    if value is None:
        return
    if is_list_type(type_):
        for index, element in enumerate(value) if isinstance(value, list) else [(None, value)]:
            yield from _faults(element, type_.of_type, path if index is None else f"{path}[{index}]")
    elif is_input_object_type(type_):
        yield from _faults_of_object(value, type_, path)
    else:
        yield from _faults_of_leaf(value, type_, path)


def _faults_of_object(value: Any, type_: GraphQLInputObjectType, path: str) -> Iterator[_Fault]:
    if not isinstance(value, dict):
        yield path, f"{type_.name} must be an object, not {shown(value)}."
        return
    for name in value:
        if name not in type_.fields:
            yield path, f"{type_.name} has no field {shown(name)}."
    for name, field in type_.fields.items():
        if name in value:
            yield from _faults(value[name], field.type, f"{path}.{name}")
        elif is_required_input_field(field):
            yield path, f"{type_.name} needs the field {name}."


def _faults_of_leaf(value: Any, type_: GraphQLLeafType, path: str) -> Iterator[_Fault]:
    try:
        type_.coerce_input_value(value)
    except GraphQLError as error:
        own = not is_specified_scalar_type(type_) and not isinstance(type_, GraphQLEnumType)
        yield path, error.message if own else f"this is not {_article(type_.name)} {type_.name}: {shown(value)}."


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOU" else "a"
