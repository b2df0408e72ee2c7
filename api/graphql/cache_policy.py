"""Who may keep the answers of an operation: everybody, when all its fields are public; else nobody."""

from collections.abc import Mapping
from typing import NamedTuple

from graphql import FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode, OperationType

from api.graphql.selected_fields import selected_fields
from api.graphql.types.cache_control import public_age


class CachePolicy(NamedTuple):
    """Everybody may keep the answer for so many seconds. `roots` are the fields of the query type."""

    max_age: int
    roots: frozenset[str]


def policy_of(
    schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], operation: OperationDefinitionNode
) -> CachePolicy | None:
    """The policy of a valid operation; None when no cache may keep its answers.

    Fields that `@skip` or `@include` may leave out count too.
    """
    if operation.operation is not OperationType.QUERY:
        return None
    ages, roots = set[int](), set[str]()
    for node, parent, definition in selected_fields(schema, fragments, operation):
        if node.name.value == "__typename":
            continue
        age = None if definition is None else public_age(definition)
        if age is None:  # also `__schema` and `__type`
            return None
        ages.add(age)
        if parent is schema.query_type:
            roots.add(node.name.value)
    return CachePolicy(min(ages), frozenset(roots)) if ages else None
