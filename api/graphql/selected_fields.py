"""The fields that an operation selects, each with its definition."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)


class SelectedField(NamedTuple):
    """A field, the type that it is selected of, and its definition; None for `__typename`, `__schema` and `__type`."""

    node: FieldNode
    parent: GraphQLNamedType | None
    definition: GraphQLField | None


def selected_fields(
    schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], operation: OperationDefinitionNode
) -> Iterator[SelectedField]:
    """All fields of a valid operation, those of each fragment once. Below a field without a definition are none.

    Fields that `@skip` or `@include` may leave out count too.
    """
    walked = set[str]()
    waiting: list[tuple[SelectionSetNode, GraphQLNamedType | None]] = [
        (operation.selection_set, schema.get_root_type(operation.operation))
    ]
    while waiting:
        selected, parent = waiting.pop()
        fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
        for selection in selected.selections:
            if isinstance(selection, FieldNode):
                definition = fields.get(selection.name.value)
                yield SelectedField(selection, parent, definition)
                if definition is not None and selection.selection_set is not None:
                    waiting.append((selection.selection_set, get_named_type(definition.type)))
            elif not isinstance(selection, FragmentSpreadNode):
                inline: Any = selection
                condition = inline.type_condition
                inner = schema.type_map.get(condition.name.value) if condition else parent
                waiting.append((inline.selection_set, inner))
            elif selection.name.value not in walked:
                walked.add(selection.name.value)
                fragment = fragments[selection.name.value]
                waiting.append((fragment.selection_set, schema.type_map.get(fragment.type_condition.name.value)))
