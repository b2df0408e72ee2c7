"""The plan of an operation: its steps, and the compiled function that runs them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, get_nullable_type, is_object_type
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet, collect_fields
from graphql.pyutils import Path
from strawberry.permission import PermissionExtension

from api.graphql.execution.executor import Executor
from api.graphql.planning.arguments import Arguments
from api.graphql.planning.calling import write_calls
from api.graphql.planning.running import Run
from api.graphql.planning.steps import Call, Fields, Step
from api.graphql.planning.writing import Budget, TooLarge, class_of, declaration_of, write_completer
from api.graphql.types.permissions import ScopePermission, permissions_of

MAX_FIELDS = 500  # of a plan, those of rows and columns both counted: compiling so many takes some 15 ms


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of an operation. `answer` takes the Run of a request, and None: the data, or a coroutine of it."""

    fields: Fields
    answer: Callable[[Run, None], Any]


def compile_plan(executor: Executor) -> Plan | None:
    """The plan for the operation and the variables of an executor; None when graphql-core must execute it.

    It is valid for all requests whose variables include and skip the same selections.
    """
    root = executor.schema.query_type
    if root is None:
        return None
    variables, operation = executor.variable_values, executor.operation
    found = collect_fields(executor.schema, executor.fragments, variables, root, operation, True)
    try:
        steps = _steps(executor, root, found.grouped_field_set, None, Budget(MAX_FIELDS))
    except TooLarge:
        return None
    if not any(step.call for step in steps):
        return None
    fields = Fields(False, steps)
    return Plan(fields, write_calls(fields))


def _steps(
    executor: Executor, parent: GraphQLObjectType, fields: GroupedFieldSet, path: Path | None, budget: Budget
) -> tuple[Step, ...]:
    budget.take(len(fields))
    return tuple(_step(executor, parent, key, details, path, budget) for key, details in fields.items())


def _step(
    executor: Executor,
    parent: GraphQLObjectType,
    key: str,
    details: FieldDetailsList,
    above: Path | None,
    budget: Budget,
) -> Step:
    name, path = details[0].node.name.value, Path(above, key, parent.name)
    if name == "__typename":
        return Step(key, parent, details, None, path, typename=parent.name)
    definition = parent.fields.get(name)
    call = _call(executor, definition, details) if definition else None
    if definition is None or call is None:
        return Step(key, parent, details, definition, path)
    type_ = get_nullable_type(definition.type)
    expected = class_of(type_) if is_object_type(type_) else None
    complete, fields = write_completer(executor, definition.type, details, budget), None
    if complete is None and expected is not None and is_object_type(type_):
        selected = executor.collect_subfields(type_, details).grouped_field_set
        fields = Fields(type_ is definition.type, _steps(executor, type_, selected, path, budget))
    permissions = permissions_of(definition)
    scopes = frozenset(scope for one in permissions for scope in one.scopes)
    return Step(key, parent, details, definition, path, call, complete, fields, expected, permissions, scopes)


def _call(executor: Executor, definition: GraphQLField, details: FieldDetailsList) -> Call | None:
    """How to resolve a field; None when it has extensions other than our permissions, which the executor checks."""
    declared = declaration_of(definition)
    if declared is None or not all(map(_is_ours, declared.extensions)):
        return None
    arguments = Arguments(executor.schema, definition, declared, details[0].node)
    resolver = declared.base_resolver
    if resolver is None:
        return Call(declared, None, arguments, None)
    named = resolver.root_parameter or resolver.parent_parameter
    source = "" if resolver.self_parameter else named.name if named else None
    return Call(declared, resolver.wrapped_func, arguments, source)


def _is_ours(extension: Any) -> bool:
    """Whether a field's permissions decide without its arguments: a plan knows no others."""
    return (
        isinstance(extension, PermissionExtension)
        and not extension.fail_silently
        and all(type(one).has_permission is ScopePermission.has_permission for one in extension.permissions)
    )
