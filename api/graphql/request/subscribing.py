"""Runs a subscription: an answer for each event. The events come from the field, the answers from our own executor."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, create_source_event_stream
from graphql.execution.values import VariableValues

from api.errors import REFUSALS, RequestRefused, public_errors, refusal_extensions, refusal_of
from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.request.documents import Document, Operation, executor_of

Admit = Callable[[], Awaitable[None]]  # before each event: takes its units, and waits for a turn; raises LimitReached


@dataclass(frozen=True, slots=True)
class Stream:
    """A subscription that has not begun. `answers` is to be read once, and closed."""

    answers: AsyncGenerator[dict[str, Any], None]


def open_stream(
    schema: GraphQLSchema,
    document: Document,
    operation: Operation,
    variables: VariableValues,
    context: Context,
    *,
    timeout: float,
    admit: Admit,
) -> Stream:
    """The answers of this subscription. Each has `timeout` seconds.

    The stream ends with the events, or with an answer that is an error: when the events cannot be read, and when the
    caller's limits have too few units left.
    """
    executor = executor_of(schema, document, operation, variables, context)
    return Stream(_answers(executor, context.request_id, timeout, admit))


async def _answers(
    executor: Executor, request_id: str, timeout: float, admit: Admit
) -> AsyncGenerator[dict[str, Any], None]:
    try:
        source = create_source_event_stream(executor)
        source = await source if isinstance(source, Awaitable) else source
        if isinstance(source, ExecutionResult):
            yield _answer(source, request_id)
            return
        async with aclosing(cast(AsyncGenerator[Any, None], source)) as events:
            async for event in events:
                await admit()
                yield _answer(await _run(executor, event, timeout), request_id)
    except REFUSALS as error:
        yield refused_answer(refusal_of(error), request_id)
    except Exception as error:  # of the field; `public_errors` masks and logs what is unexpected
        yield {"errors": public_errors([GraphQLError(str(error), original_error=error)], request_id)}


async def _run(executor: Executor, event: Any, timeout: float) -> ExecutionResult:
    try:
        async with asyncio.timeout(timeout):
            result = executor.build_per_event_executor(event).execute_operation()
            return cast(ExecutionResult, await result if isinstance(result, Awaitable) else result)
    except TimeoutError:
        raise RequestRefused("TIMEOUT", f"No answer to an event within {timeout:g} seconds.", 504) from None


def _answer(result: ExecutionResult, request_id: str) -> dict[str, Any]:
    if not result.errors:
        return {"data": result.data}
    errors = public_errors(result.errors, request_id)
    return {"errors": errors} if result.data is None else {"data": result.data, "errors": errors}


def refused_answer(refusal: RequestRefused, request_id: str) -> dict[str, Any]:
    """The answer that a refused operation gets on a stream: errors and no data."""
    given = getattr(refusal, "errors", None) or [GraphQLError(str(refusal))]
    errors = public_errors(given, request_id, default=refusal.code)
    errors[0]["extensions"].update(refusal_extensions(refusal))
    return {"errors": errors}
