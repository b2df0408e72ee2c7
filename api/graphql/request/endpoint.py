"""The /graphql endpoint: an ASGI app that answers GraphQL over HTTP with our own executor."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError, execute
from starlette.types import Receive, Scope, Send
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable

from api.errors import MASKED, REFUSALS, RequestRefused, public_errors, refusal_of
from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.request.documents import Document, DocumentInvalid, Documents, Operation
from api.graphql.request.graphiql import PAGE, POLICY
from api.graphql.request.reading import (
    JSON,
    RESPONSE_JSON,
    accepts_html,
    choose_media_type,
    read_body,
    read_query_string,
)
from api.http.disconnects import Disconnected, while_connected
from api.http.endpoint import (
    Header,
    Headers,
    MethodRefused,
    read_headers,
    receive_body,
    refusal_headers,
    send_answer,
    viewer_of,
)
from api.http.request_metrics import summary_of
from core import telemetry
from engine.viewer import Viewer

log = structlog.get_logger()

_FIXED_STATUSES = {401, 405, 406, 413, 415, 429, 503, 504}  # sent also when the answer is application/json
_METHODS = {"GET", "POST"}


class GraphQLEndpoint:
    """An ASGI app for one path. `scope["state"]` must have `gateway` and `verifier`, see `api.app.State`."""

    def __init__(self, schema: Schema, *, graphiql: bool, timeout: float) -> None:
        self._schema = schema._schema
        self._documents = Documents(self._schema)
        self._graphiql = graphiql
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered too."""
        headers = read_headers(scope)
        if self._graphiql and scope["method"] == "GET" and not scope["query_string"] and accepts_html(headers):
            await send_answer(send, 200, b"text/html; charset=utf-8", PAGE, [(b"content-security-policy", POLICY)])
            return
        request_id = scope["state"].get("request_id", "")
        kind = JSON
        try:
            kind = choose_media_type(headers)
            status, answer, extra = await self._answer(scope, receive, headers, request_id)
        except RequestRefused as refusal:
            status, answer, extra = _answer_to_refusal(refusal, kind, request_id)
        except Disconnected:
            return
        if "errors" in answer:
            summary_of(scope).set_errors(answer)
        await send_answer(send, status, kind.encode() + b"; charset=utf-8", _encode(answer, request_id), extra)

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Headers, request_id: str
    ) -> tuple[int, dict[str, Any], list[Header]]:
        if scope["method"] not in _METHODS:
            raise MethodRefused("GET, POST", "Use POST; GET is for queries only.")
        state = scope["state"]
        viewer = await viewer_of(state["verifier"], scope["headers"])
        if scope["method"] == "GET":
            request = read_query_string(scope["query_string"])
        else:
            request = read_body(headers, await receive_body(receive))
        document = self._documents.read(request.query, hide_suggestions="schema:read" not in viewer.scopes)
        operation = document.operation(request.operation_name)
        summary_of(scope).operation = operation.label
        self._check(scope["method"], viewer, document, operation, request.variables)
        context = Context(viewer, state["gateway"], request_id)
        connected = while_connected(receive) if operation.is_query else nullcontext()  # a mutation is finished
        with telemetry.span(f"{operation.node.operation.value} {operation.label}"), connected:
            result = await self._run(document, operation, request.variables, context)
        return _answer_to_result(result, request_id)

    def _check(
        self, method: str, viewer: Viewer, document: Document, operation: Operation, variables: Mapping[str, Any]
    ) -> None:
        if method == "GET" and not operation.is_query:
            raise MethodRefused("POST", "GET is for queries only: use POST.")
        if operation.measured.introspects and "schema:read" not in viewer.scopes:
            raise RequestRefused("FORBIDDEN", "Introspection needs the scope schema:read.", 403)
        self._documents.check_cost(document, operation, variables)

    async def _run(
        self, document: Document, operation: Operation, variables: dict[str, Any], context: Context
    ) -> ExecutionResult:
        """Execute an operation; raises RequestRefused when it takes too long or its variables are nested too deeply."""
        try:
            async with asyncio.timeout(self._timeout):
                result = execute(
                    self._schema,
                    document.node,
                    context_value=context,
                    variable_values=variables,
                    operation_name=operation.name,
                    executor_class=Executor,
                    selections=operation.selections,
                    is_awaitable=cast(Any, optimized_is_awaitable),
                    hide_suggestions="schema:read" not in context.viewer.scopes,
                )
                return result if isinstance(result, ExecutionResult) else await result
        except TimeoutError:
            raise RequestRefused("TIMEOUT", f"No answer within {self._timeout:g} seconds.", 504) from None
        except RecursionError:
            raise RequestRefused("BAD_USER_INPUT", "The variables are nested too deeply.") from None


def _answer_to_result(result: ExecutionResult, request_id: str) -> tuple[int, dict[str, Any], list[Header]]:
    if not result.errors:
        return 200, {"data": result.data}, []
    if result.data is None and all(error.path is None for error in result.errors):
        raise DocumentInvalid("BAD_USER_INPUT", result.errors)  # the variables are wrong; no resolver has run
    errors = public_errors(result.errors, request_id)
    answer = {"data": result.data, "errors": errors}
    if any(value is not None for value in (result.data or {}).values()):
        return 200, answer, []
    for error in result.errors:
        if isinstance(error.original_error, REFUSALS):
            raise refusal_of(error.original_error)  # the whole request, for example for too many events
    if any(error["extensions"]["code"] == "SERVICE_UNAVAILABLE" for error in errors):
        return 503, answer, [(b"retry-after", b"1")]
    return 200, answer, []


def _answer_to_refusal(refusal: RequestRefused, kind: str, request_id: str) -> tuple[int, dict[str, Any], list[Header]]:
    errors = refusal.errors if isinstance(refusal, DocumentInvalid) else [GraphQLError(str(refusal))]
    answer = {"errors": public_errors(errors, request_id, default=refusal.code)}
    fixed = refusal.status in _FIXED_STATUSES or refusal.code == "BAD_REQUEST"
    status = refusal.status if fixed or kind == RESPONSE_JSON else 200
    return status, answer, refusal_headers(refusal)


def _encode(answer: dict[str, Any], request_id: str) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # a field of type JSON has a value that JSON cannot express
        log.exception("answer_not_encoded", request_id=request_id)
        extensions = {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
        return orjson.dumps({"errors": [{"message": MASKED, "extensions": extensions}]})
