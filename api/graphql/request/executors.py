"""Makes the executor of one operation of one viewer."""

from functools import partial

from graphql import GraphQLSchema, default_field_resolver, default_type_resolver
from graphql.execution.values import VariableValues
from strawberry.execution import optimized_is_awaitable

from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.request.documents import Document, Operation
from api.graphql.types.permissions import check_permissions


def executor_of(
    schema: GraphQLSchema, document: Document, operation: Operation, variables: VariableValues, context: Context
) -> Executor:
    """The executor of an operation with these variables, for the viewer of the context."""
    return Executor(
        schema,
        {name: details.definition for name, details in document.fragments.items()},
        document.fragments,
        None,
        context,
        operation.node,
        variables,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
        selections=operation.selections,
        check=partial(check_permissions, context.viewer),
        is_awaitable=optimized_is_awaitable,
        hide_suggestions="schema:read" not in context.viewer.scopes,
    )
