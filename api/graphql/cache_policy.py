"""Who may keep the answers of an operation: everybody, when all its fields are public; else nobody."""

from collections.abc import Mapping
from typing import NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
)

from api.graphql.types.cache_control import public_age


class CachePolicy(NamedTuple):
    """Everybody may keep the answer for so many seconds. `roots` are the fields of the query type."""

    max_age: int
    roots: frozenset[str]


def policy_of(
    schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], operation: OperationDefinitionNode
) -> CachePolicy | None:
    """The policy of a valid operation; None when no cache may keep its answers. Each fragment is walked once.

    Fields that `@skip` or `@include` may leave out count too.
    """
    if operation.operation is not OperationType.QUERY:
        return None
    reading = _Reading(schema, fragments)
    try:
        reading.selections(operation.selection_set, schema.query_type)
    except _Private:
        return None
    return CachePolicy(min(reading.ages), frozenset(reading.roots)) if reading.ages else None


class _Private(Exception):
    """A field is private."""


class _Reading:
    """One walk over an operation. Raises _Private at the first field that is not public."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema, self._fragments = schema, fragments
        self._walked: set[str] = set()
        self.ages: set[int] = set()
        self.roots: set[str] = set()

    def selections(self, node: SelectionSetNode, parent: GraphQLNamedType | None) -> None:
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                self._field(selection, parent)
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(selection.name.value)
            else:
                condition = getattr(selection, "type_condition", None)
                inner = self._schema.type_map.get(condition.name.value) if condition else parent
                self.selections(selection.selection_set, inner)  # type: ignore[attr-defined]

    def _spread(self, name: str) -> None:
        if name not in self._walked:
            self._walked.add(name)
            fragment = self._fragments[name]
            self.selections(fragment.selection_set, self._schema.type_map.get(fragment.type_condition.name.value))

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> None:
        name = node.name.value
        if name == "__typename":
            return
        fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
        definition = fields.get(name)
        age = None if definition is None else public_age(definition)
        if definition is None or age is None:  # also `__schema` and `__type`
            raise _Private
        self.ages.add(age)
        if parent is self._schema.query_type:
            self.roots.add(name)
        if node.selection_set is not None:
            self.selections(node.selection_set, get_named_type(definition.type))
