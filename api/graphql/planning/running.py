"""Runs a plan. The outcome is the same as graphql-core's, which does what the plan does not."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from types import CoroutineType
from typing import Any, cast

import strawberry
from graphql import ExecutionResult, GraphQLError, GraphQLField
from graphql.execution.values import VariableValues
from graphql.pyutils import gather_with_cancel

from api.graphql.context import Context
from api.graphql.execution.executor import Check, Executor
from api.graphql.planning.plan import Fields, Step


class Run:
    """One request for an operation with a plan.

    `check` raises for a field and a source that the viewer may not read. `make_executor` makes the executor that does
    what the plan does not: it is called at most once.
    """

    def __init__(
        self,
        make_executor: Callable[[], Executor],
        context: Context,
        variables: VariableValues,
        check: Check,
        is_awaitable: Callable[[Any], bool],
    ) -> None:
        self._make_executor, self.context, self._variables = make_executor, context, variables
        self._check, self._is_awaitable = check, is_awaitable
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
        if self._executor is None:
            return ExecutionResult(data, None)
        errors = self._executor.collected_errors.errors
        return ExecutionResult(data, errors or None)

    @property
    def executor(self) -> Executor:
        """graphql-core's executor for this request."""
        if self._executor is None:
            self._executor = self._make_executor()
        return self._executor

    def close(self) -> None:
        """Break the reference cycle of the executor: all that the request read would wait for a collection."""
        if self._executor is not None:
            del self._executor.async_helpers

    def _fields(self, plan: Fields, source: Any) -> Any:
        """The answer for the fields of an object, or a coroutine of it. As graphql-core's `execute_fields`."""
        results: dict[str, Any] = {}
        waiting = []
        try:
            for step in plan.steps:
                result = results[step.key] = self._step(step, source)
                if result.__class__ is CoroutineType:
                    waiting.append(step.key)
        except Exception:
            if waiting:
                self.executor.settle_in_background([results[key] for key in waiting])
            raise
        return self._awaited(results, waiting) if waiting else results

    async def _awaited(self, results: dict[str, Any], waiting: list[str]) -> dict[str, Any]:
        if len(waiting) == 1:
            results[waiting[0]] = await results[waiting[0]]
        else:
            results.update(zip(waiting, await gather_with_cancel(*(results[key] for key in waiting)), strict=True))
        return results

    def _step(self, step: Step, source: Any) -> Any:
        """The answer for one field, or a coroutine of it. As graphql-core's `execute_field`."""
        if step.call is None or step.field is None:
            return step.typename or self.executor.execute_field(step.parent, source, step.details, step.path, None)
        try:
            self._check(step.field, source)
            value = self._resolved(step, source)
            if self._is_awaitable(value):
                return self._completed_later(step, value)
            completed = self._completed(step, value)
        except Exception as error:
            self.executor.handle_field_error(error, step.field.type, step.details, step.path)
            return None
        return self._settled(step, completed) if completed.__class__ is CoroutineType else completed

    def _resolved(self, step: Step, source: Any) -> Any:
        call = step.call
        assert call is not None
        if call.function is None:
            return getattr(source, call.declared.python_name)
        arguments = call.arguments.read(self._variables)
        if call.arguments.info is not None:
            arguments[call.arguments.info] = _StepInfo(self, step)
        if call.source:
            arguments[call.source] = source
        return call.function(source, **arguments) if call.source == "" else call.function(**arguments)

    async def _completed_later(self, step: Step, value: Awaitable[Any]) -> Any:
        assert step.field is not None
        try:
            completed = self._completed(step, await value)
            return await completed if completed.__class__ is CoroutineType else completed
        except Exception as error:
            self.executor.handle_field_error(error, step.field.type, step.details, step.path)
            return None

    async def _settled(self, step: Step, completed: Awaitable[Any]) -> Any:
        assert step.field is not None
        try:
            return await completed
        except Exception as error:
            self.executor.handle_field_error(error, step.field.type, step.details, step.path)
            return None

    def _completed(self, step: Step, value: Any) -> Any:
        """The answer for what a field's resolver returned, or a coroutine of it."""
        if step.complete is not None:
            try:
                return step.complete.complete(value, self._variables, self.context)
            except Exception:  # graphql-core completes the same value again and reports its error
                return self._completed_by_graphql_core(step, value)
        if step.fields is not None:
            if value.__class__ is step.fields.expected:
                return self._fields(step.fields, value)
            if value is None and step.fields.nullable:
                return None
        return self._completed_by_graphql_core(step, value)

    def _completed_by_graphql_core(self, step: Step, value: Any) -> Any:
        assert step.field is not None
        executor = self.executor
        info = self.resolve_info(step)
        return executor.complete_value(step.field.type, step.details, info, step.path, value, None)

    def resolve_info(self, step: Step) -> Any:
        """What graphql-core tells resolvers about a field."""
        nodes = [one.node for one in step.details]
        return self.executor.build_resolve_info(cast(GraphQLField, step.field), nodes, step.parent, step.path)


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
