"""Three ways to answer an operation over the schema of `tests/odd_answers.py`: graphql-core, our executor, a plan."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import orjson
from graphql import DocumentNode, ExecutionResult, execute
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.graphql.execution.executor import Executor
from api.graphql.planning.plan import compile_plan
from api.graphql.planning.running import Run
from api.graphql.types.permissions import check_permissions
from engine.viewer import Viewer
from tests.odd_answers import SCHEMA


@dataclass
class Asked:
    """The context of a request: the value that it asks for, and who asks."""

    value: Any
    viewer: Viewer = field(default_factory=lambda: Viewer("shop", frozenset({"models:read"}), None, 2**33))


STOCK = StrawberryGraphQLCoreExecutionContext


def run(document: DocumentNode, asked: Asked, executor: type[Any], values: Any = None, **more: Any) -> str:
    """The answer of an executor class, see `answer`."""

    def execution() -> Any:
        variables = {"yes": True, "no": False, "text": "t", "number": 2} | (values or {})
        return execute(
            SCHEMA._schema,
            document,
            context_value=asked,
            variable_values=variables,
            executor_class=executor,
            **more,
        )

    return answer(execution)


def run_plan(document: DocumentNode, asked: Asked, values: Any = None) -> str | None:
    """The answer of the operation's plan; None when it has none."""
    variables = {"yes": True, "no": False, "text": "t", "number": 2} | (values or {})
    check = partial(check_permissions, asked.viewer)

    def make() -> Executor:
        made = Executor.build(
            SCHEMA._schema,
            document,
            None,
            asked,
            variables,
            is_awaitable=cast(Any, optimized_is_awaitable),
            check=check,
        )
        assert isinstance(made, Executor), made
        return made

    plan, run = compile_plan(make()), Run(make, cast(Any, asked), make().variable_values, optimized_is_awaitable)
    return None if plan is None else answer(lambda: run.result(plan.answer))


def answer(execution: Callable[[], Any]) -> str:
    """Data and errors as text, so that the order of keys counts."""

    async def asked() -> ExecutionResult:
        result = execution()
        answer = result if isinstance(result, ExecutionResult) else await result
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        return answer

    result = asyncio.run(asked())
    errors = [(error.message, error.path, error.locations, type(error.original_error)) for error in result.errors or ()]
    try:
        data = orjson.dumps(result.data, default=repr).decode()
    except TypeError as error:  # a JSON value has keys that are no texts
        data = str(error)
    return repr((data, sorted(errors, key=repr)))
