"""Runs a plan. The outcome is the same as graphql-core's, which does what the plan does not."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from types import CoroutineType
from typing import Any, Final

import strawberry
from graphql import ExecutionResult, GraphQLError
from graphql.execution.values import VariableValues
from graphql.pyutils import gather_with_cancel

from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.planning.plan import Call, Fields, Step

_DONE: Final = "done"  # what is known of a field: its answer,
_ANSWERED: Final = "answered"  # or a coroutine of graphql-core that handles its errors,
_RESOLVED: Final = "resolved"  # or a coroutine that completes what the resolver returned,
_CALLED: Final = "called"  # or what the resolver returned, to be awaited and completed

_Waiting = tuple[Step, Awaitable[Any], str]


class Run:
    """One request for an operation with a plan.

    `make_executor` makes the executor that does what the plan does not: it is called at most once.
    """

    def __init__(
        self,
        make_executor: Callable[[], Executor],
        context: Context,
        variables: VariableValues,
        is_awaitable: Callable[[Any], bool],
    ) -> None:
        self._make_executor, self.context, self._variables = make_executor, context, variables
        self._is_awaitable, self._scopes = is_awaitable, context.viewer.scopes
        self._executor: Executor | None = None

    async def result(self, plan: Fields) -> ExecutionResult:
        """The result of the operation. Never raises what a resolver raises."""
        try:
            data = self._fields(plan, None)
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

    def _fields(self, plan: Fields, source: Any) -> Any:
        """The answer for the fields of an object, or a coroutine of it. As graphql-core's `execute_fields`."""
        results: dict[str, Any] = {}
        waiting: list[_Waiting] = []
        try:
            for step in plan.steps:
                try:
                    result, state = self._step(step, source)
                except Exception as error:
                    self._failed(step, error)
                    result, state = None, _DONE
                results[step.key] = result
                if state is not _DONE:
                    waiting.append((step, result, state))
        except Exception:
            if waiting:
                self.executor.settle_in_background([self._answered(*one) for one in waiting])
            raise
        if not waiting:
            return results
        return self._one_awaited(results, *waiting[0]) if len(waiting) == 1 else self._all_awaited(results, waiting)

    def _step(self, step: Step, source: Any) -> tuple[Any, str]:
        """The answer for one field, or something to await, and which of both. As graphql-core's `execute_field`."""
        if step.call is None:
            return self._without_call(step, source)
        if step.permissions and not self._scopes >= step.scopes:
            self._check(step, source)
        value = self._resolved(step, step.call, source)
        kind = value.__class__
        if kind is CoroutineType or (kind is not step.expected and self._is_awaitable(value)):
            return value, _CALLED
        completed = self._completed(step, value)
        return completed, _RESOLVED if completed.__class__ is CoroutineType else _DONE

    def _without_call(self, step: Step, source: Any) -> tuple[Any, str]:
        """The answer for a field that graphql-core resolves, or something to await, and which of both."""
        if step.typename:
            return step.typename, _DONE
        result = self.executor.execute_field(step.parent, source, step.details, step.path, None)
        return result, _ANSWERED if result.__class__ is CoroutineType else _DONE

    def _check(self, step: Step, source: Any) -> None:
        """Raise what the first permission raises that does not allow the viewer this field."""
        for permission in step.permissions:
            if not permission.allows(self.context.viewer, source):
                permission().on_unauthorized()

    def _resolved(self, step: Step, call: Call, source: Any) -> Any:
        """What the field's resolver returns: a value, or something to await."""
        if call.function is None:
            return getattr(source, call.declared.python_name)
        constant = call.arguments.constant
        arguments = dict(constant) if constant is not None else call.arguments.read(self._variables, self.context)
        if call.arguments.info is not None:
            arguments[call.arguments.info] = _StepInfo(self, step)
        if call.source == "":
            return call.function(source, **arguments)
        if call.source is not None:
            arguments[call.source] = source
        return call.function(**arguments)

    async def _one_awaited(
        self, results: dict[str, Any], step: Step, waiting: Awaitable[Any], state: str
    ) -> dict[str, Any]:
        """The answer for an object of which one field has to be awaited; all others are in `results`."""
        try:  # as `_answered`, which would be one more coroutine
            value = await waiting
            if state is _CALLED:
                value = self._completed(step, value)
                if value.__class__ is CoroutineType:
                    value = await value
        except Exception as error:
            if state is _ANSWERED:
                raise
            self._failed(step, error)
            value = None
        results[step.key] = value
        return results

    async def _all_awaited(self, results: dict[str, Any], waiting: "list[_Waiting]") -> dict[str, Any]:
        values = await gather_with_cancel(*(self._answered(*one) for one in waiting))
        results.update(zip((step.key for step, _, _ in waiting), values, strict=True))
        return results

    async def _answered(self, step: Step, waiting: Awaitable[Any], state: str) -> Any:
        """The answer for a field that has to be awaited."""
        results: dict[str, Any] = {}
        await self._one_awaited(results, step, waiting, state)
        return results[step.key]

    def _failed(self, step: Step, error: Exception) -> None:
        """Record the error of a field; raises it where null is not allowed."""
        assert step.field is not None
        self.executor.handle_field_error(error, step.field.type, step.details, step.path)

    def _completed(self, step: Step, value: Any) -> Any:
        """The answer for what a field's resolver returned, or a coroutine of it."""
        if step.complete is not None:
            try:
                return step.complete.complete(value, self._variables, self.context)
            except Exception:  # graphql-core completes the same value again and reports its error
                return self._completed_by_graphql_core(step, value)
        if step.fields is not None:
            if value.__class__ is step.expected:
                return self._fields(step.fields, value)
            if value is None and step.fields.nullable:
                return None
        return self._completed_by_graphql_core(step, value)

    def _completed_by_graphql_core(self, step: Step, value: Any) -> Any:
        assert step.field is not None
        info = self.resolve_info(step)
        return self.executor.complete_value(step.field.type, step.details, info, step.path, value, None)


class _StepInfo(strawberry.Info[Context, None]):
    """The info of a field. It knows the context; all else is made when a resolver asks."""

    def __init__(self, run: Run, step: Step) -> None:
        self._run, self._step = run, step

    @property
    def context(self) -> Context:
        """The context of the request."""
        return self._run.context

    @cached_property
    def _raw_info(self) -> Any:  # type: ignore[override]
        return self._run.resolve_info(self._step)

    @cached_property
    def _field(self) -> Any:  # type: ignore[override]
        assert self._step.call is not None
        return self._step.call.declared
