"""What of an operation is deprecated, as schema coordinates: found once per document, and in variables per request."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any, Final

from graphql import (
    EnumValueNode,
    FragmentDefinitionNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    ValueNode,
    get_named_type,
    type_from_ast,
)

from api.graphql.selected_fields import SelectedField, selected_fields

MAX_VALUES: Final = 200  # JSON values of one variable that are looked at


class Deprecations:
    """The deprecated parts that an operation uses: `in_document`, and those that its variables may use.

    A part is named by its coordinate: `Type.field`, `Type.field(argument:)`, `Input.field`, `Enum.VALUE`.
    """

    __slots__ = ("in_document", "variables")

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        """Read a valid operation."""
        found = set(chain.from_iterable(map(_in_field, selected_fields(schema, fragments, operation))))
        self.variables: list[tuple[str, GraphQLInputObjectType]] = []
        for definition in operation.variable_definitions or ():
            kind = get_named_type(type_from_ast(schema, definition.type))
            if definition.default_value is not None:
                found.update(_in_literal(definition.default_value, kind))
            if isinstance(kind, GraphQLInputObjectType) and _has_deprecated(kind):
                self.variables.append((definition.variable.name.value, kind))
        self.in_document = frozenset(found)

    def used(self, variables: Mapping[str, Any]) -> frozenset[str]:
        """The deprecated parts that a request with these variables uses."""
        if not self.variables:
            return self.in_document
        inside = (each for name, kind in self.variables for each in _in_value(variables.get(name), kind))
        return self.in_document.union(inside)


def _in_field(selected: SelectedField) -> Iterator[str]:
    """What is deprecated of a field and its arguments."""
    node, parent, definition = selected
    if parent is None or definition is None:  # `__typename`, `__schema`
        return
    name = f"{parent.name}.{node.name.value}"
    if definition.deprecation_reason is not None:
        yield name
    for sent in node.arguments or ():
        argument = definition.args[sent.name.value]
        if argument.deprecation_reason is not None:
            yield f"{name}({sent.name.value}:)"
        yield from _in_literal(sent.value, get_named_type(argument.type))


def _in_literal(node: ValueNode, kind: GraphQLNamedType | None) -> Iterator[str]:
    """The deprecated fields and enum values in a literal."""
    if isinstance(node, ListValueNode):
        for each in node.values:
            yield from _in_literal(each, kind)
    elif isinstance(node, EnumValueNode) and isinstance(kind, GraphQLEnumType):
        if kind.values[node.value].deprecation_reason is not None:
            yield f"{kind.name}.{node.value}"
    elif isinstance(node, ObjectValueNode) and isinstance(kind, GraphQLInputObjectType):
        for given in node.fields:
            field = kind.fields[given.name.value]
            if field.deprecation_reason is not None:
                yield f"{kind.name}.{given.name.value}"
            yield from _in_literal(given.value, get_named_type(field.type))


@cache
def _has_deprecated(kind: GraphQLInputObjectType) -> bool:
    """Whether an input of this type may use something deprecated, at any depth."""
    known, waiting = {kind}, [kind]
    while waiting:
        for field in waiting.pop().fields.values():
            inner = get_named_type(field.type)
            if field.deprecation_reason is not None or _has_deprecated_value(inner):
                return True
            if isinstance(inner, GraphQLInputObjectType) and inner not in known:
                known.add(inner)
                waiting.append(inner)
    return False


def _has_deprecated_value(kind: GraphQLNamedType) -> bool:
    return isinstance(kind, GraphQLEnumType) and any(each.deprecation_reason for each in kind.values.values())


def _in_value(value: Any, kind: GraphQLNamedType) -> Iterator[str]:
    """The deprecated fields and enum values in the first values of a variable. What is null was not used."""
    waiting, seen = [(value, kind)], 0
    while waiting and seen < MAX_VALUES:
        value, kind = waiting.pop()
        seen += 1
        if isinstance(value, list):
            waiting += [(each, kind) for each in value[:MAX_VALUES]]
        elif isinstance(value, str) and isinstance(kind, GraphQLEnumType):
            if value in kind.values and kind.values[value].deprecation_reason is not None:
                yield f"{kind.name}.{value}"
        elif isinstance(value, dict) and isinstance(kind, GraphQLInputObjectType):
            given = {name: field for name, field in kind.fields.items() if value.get(name) is not None}
            yield from (f"{kind.name}.{name}" for name, field in given.items() if field.deprecation_reason is not None)
            waiting += [(value[name], get_named_type(field.type)) for name, field in given.items()]
