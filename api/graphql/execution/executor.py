"""The executor of this gateway's operations."""

from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor as Strawberry needs it: resolvers see coerced variables."""
