"""What the code of a plan needs for one request. The outcome is graphql-core's, which does what the plan does not."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cached_property
from types import CoroutineType
from typing import Any

import strawberry
from graphql import ExecutionResult, GraphQLError
from graphql.execution.values import VariableValues
from graphql.pyutils import gather_with_cancel

from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.execution.owning import Owning
from api.graphql.planning.steps import Step

_Storing = Coroutine[Any, Any, dict[str, Any]]  # puts the answer of a field into the data of its object, and returns it


class Run:
    """One request for an operation with a plan.

    `make_executor` makes the executor that does what the plan does not: it is called at most once. `given` are the
    coerced variables.
    """

    __slots__ = ("_executor", "_is_awaitable", "_make_executor", "context", "given", "scopes", "variables")

    def __init__(
        self,
        make_executor: Callable[[], Executor],
        context: Context,
        variables: VariableValues,
        is_awaitable: Callable[[Any], bool],
    ) -> None:
        self._make_executor, self.context, self.variables = make_executor, context, variables
        self._is_awaitable, self.scopes, self.given = is_awaitable, context.viewer.scopes, variables.coerced
        self._executor: Executor | None = None

    async def result(self, answer: "Callable[[Run, None], Any]") -> ExecutionResult:
        """The result of an operation, from the function of its plan. Never raises what a resolver raises."""
        try:
            data = answer(self, None)
            if data.__class__ is CoroutineType:
                data = await data
        except GraphQLError as error:
            self.executor.collected_errors.add(error, None)
            data = None
        finally:
            executor = self._executor
            if executor is not None:  # a cycle: all that the request read would wait for a collection
                del executor.async_helpers
        if executor is None:
            return ExecutionResult(data, None)
        return ExecutionResult(data, executor.collected_errors.errors or None)

    @property
    def executor(self) -> Executor:
        """graphql-core's executor for this request."""
        if self._executor is None:
            self._executor = self._make_executor()
        return self._executor

    def resolve_info(self, step: Step) -> Any:
        """What graphql-core tells resolvers about a field."""
        assert step.field is not None
        nodes = [one.node for one in step.details]
        return self.executor.build_resolve_info(step.field, nodes, step.parent, step.path)

    def executed(self, step: Step, source: Any) -> Any:
        """The answer for a field that graphql-core resolves, or a coroutine of it."""
        answer = self.executor.execute_field(step.parent, source, step.details, step.path, None)
        return answer.coroutine if answer.__class__ is Owning else answer

    def check(self, step: Step, source: Any) -> None:
        """Raise what the first permission raises that does not allow the viewer this field."""
        for permission in step.permissions:
            if not permission.allows(self.context.viewer, source):
                permission().on_unauthorized()

    def resolved(self, step: Step, source: Any) -> Any:
        """What the field's resolver returns, with arguments that are read now."""
        call = step.call
        assert call is not None
        arguments = call.arguments.read(self.variables, self.context)
        if call.arguments.info is not None:
            arguments[call.arguments.info] = StepInfo(self, step)
        if call.source == "":
            return call.function(source, **arguments)
        if call.source is not None:
            arguments[call.source] = source
        return call.function(**arguments)

    def unusual(self, step: Step, value: Any) -> Any:
        """The answer for a value that the plan does not complete, or a coroutine of it: the value may be awaitable."""
        return self._awaited(step, value) if self._is_awaitable(value) else self.completed_by_graphql_core(step, value)

    async def _awaited(self, step: Step, value: Awaitable[Any]) -> Any:
        completed = self.completed_by_graphql_core(step, await value)
        return await completed if completed.__class__ is CoroutineType else completed

    def completed_by_graphql_core(self, step: Step, value: Any) -> Any:
        """The answer for what a field's resolver returned, or a coroutine of it."""
        assert step.field is not None
        info = self.resolve_info(step)
        return self.executor.complete_value(step.field.type, step.details, info, step.path, value, None)

    def failed(self, step: Step, error: Exception) -> None:
        """Record the error of a field, whose answer is null; raises it where null is not allowed."""
        assert step.field is not None
        self.executor.handle_field_error(error, step.field.type, step.details, step.path)

    async def stored(self, step: Step, answer: Awaitable[Any], data: dict[str, Any]) -> dict[str, Any]:
        """Put the answer of a field, when it is there, into the data of its object."""
        try:
            data[step.key] = await answer
        except Exception as error:
            self.failed(step, error)
        return data

    async def all_of(self, waiting: Sequence[_Storing], data: dict[str, Any]) -> dict[str, Any]:
        """The data of an object, when the answers of all these fields are there."""
        await gather_with_cancel(*map(Owning, waiting))
        return data

    def settle(self, waiting: Sequence[_Storing]) -> None:
        """Let fields end whose object is null, because another field failed."""
        self.executor.settle_in_background(list(waiting))


class StepInfo(strawberry.Info[Context, None]):
    """The info of a field. It knows the context; all else is made when a resolver asks."""

    __slots__ = ("context",)  # a property costs a call each time

    def __init__(self, run: Run, step: Step) -> None:
        self._run, self._step = run, step
        self.context = run.context  # type: ignore[misc]

    @cached_property
    def _raw_info(self) -> Any:  # type: ignore[override]
        return self._run.resolve_info(self._step)

    @cached_property
    def _field(self) -> Any:  # type: ignore[override]
        assert self._step.call is not None
        return self._step.call.declared
