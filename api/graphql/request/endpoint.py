"""The /graphql endpoint: an ASGI app that answers GraphQL over HTTP with our own executor."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, Final, NamedTuple, cast

import structlog
from graphql import ExecutionResult, GraphQLError
from graphql.execution.values import VariableValues
from starlette.types import Receive, Scope, Send
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable

from api.errors import REFUSALS, RequestRefused, refusal_of
from api.gateway import Gateway
from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.graphiql.page import send_page
from api.graphql.planning.running import Run
from api.graphql.request.answers.encoding import answer_to_refusal, answer_to_result, encode
from api.graphql.request.answers.public import Keeping, public_policy, without_person
from api.graphql.request.answers.tokenless import TokenlessClient, check_tokenless
from api.graphql.request.coercion import coerce_variables, plain_values
from api.graphql.request.documents import Document, Documents, Operation, executor_of
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.request.persisted.store import ClientDocuments
from api.graphql.request.persisted.texts import source_of, text_alone
from api.graphql.request.reading import (
    JSON,
    GraphQLRequest,
    accepts_events,
    accepts_html,
    choose_media_type,
    not_acceptable,
    read_body,
    read_query_string,
)
from api.graphql.request.slow_work import SlowWork
from api.graphql.request.subscribing import Stream, open_stream
from api.graphql.request.variables import Inputs, check_variables
from api.http.disconnects import Disconnected, while_connected
from api.http.endpoint import (
    Header,
    Headers,
    MethodRefused,
    read_headers,
    receive_body,
    send_answer,
    send_unchanged,
)
from api.http.json_body import MAX_NODES, may_be_heavy
from api.http.request_metrics import summary_of
from api.http.streaming.event_stream import event, send_event_stream
from api.http.streaming.streams import Streams
from api.limits.limits import admit, meter_of
from core import telemetry
from core.bulkhead import Bulkhead, CallerBulkheads
from core.coarse_timers import Deadline
from core.errors import TooManyElements
from core.single_flight import SingleFlight
from core.turns import Turns
from engine.viewer import Viewer

log = structlog.get_logger()

_METHODS = {"GET", "POST"}
Answered = tuple[int, dict[str, Any], list[Header]] | Stream  # status, body and more headers, or many answers
_SHORT_TEXT = 500  # characters of a document; longer ones are prepared in a thread
COST_OF_UNIT = 10  # of an operation: so much takes one unit of the caller's limits
DEAR_QUERY = 100  # units; of the operations that take more, each caller has `DEAR_AT_ONCE` at a time
DEAR_MUTATION = 150  # units; a batch of 100 events takes fewer: it mostly waits, for others and for the broker
MANY_LISTS = 8  # root fields or aliases: a query with more is dear, because each may be a list that costs few units
DEAR_AT_ONCE = 2
DEAR_PATIENCE = 1.0  # seconds; then another begins: those before it may wait for a store
_DEAR_WAITING = 1_000
_VERY_FEW_NODES = 200  # JSON values; more are checked in a turn of the caller
_FEW_NODES = 12_000  # JSON values; more are checked in a thread. A batch of 500 full events has 10,000


@dataclass(frozen=True, slots=True)
class _Unprepared:
    """A document that is not kept; callers who want the same one wait for the same work, in the first one's place."""

    text: str
    hide_suggestions: bool
    caller: Hashable = field(compare=False)


class _NoPlace(Exception):
    """A dear operation has waited long enough for those before it."""


class Accepts(NamedTuple):
    """What a caller can read: one JSON answer, a stream of events."""

    json: bool
    events: bool


_NO_ACCEPT: Final = JSON, Accepts(True, False)


class GraphQLEndpoint:
    """An ASGI app for one path. `scope["state"]` must have `gateway` and `verifier`, see `api.app.LifespanState`.

    Without `documents` there are no persisted documents; without `tokenless` every request needs a token.
    """

    def __init__(self, schema: Schema, *, graphiql: bool, timeout: float) -> None:
        self._schema = schema._schema
        self._documents = Documents(self._schema)
        self._documents.prepare("{ __typename }")  # the first one takes 50 ms: it makes the types of the schema
        self._graphiql = graphiql
        self._timeout = timeout
        self._slow = SlowWork()
        self._preparing = SingleFlight(self._prepare)
        self._dear = CallerBulkheads(
            partial(Bulkhead, DEAR_AT_ONCE, waiting=_DEAR_WAITING, patience=DEAR_PATIENCE, refuse=_NoPlace)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered too."""
        headers = read_headers(scope)
        if self._graphiql and scope["method"] == "GET" and not scope["query_string"] and accepts_html(headers):
            await send_page(send)
            return
        request_id = scope["state"].get("request_id", "")
        kind, scope["state"]["accepts"] = _accepted(headers)
        try:
            viewer = await self._admit(scope, headers)
            answered = await self._answer(scope, receive, headers, viewer)
            if isinstance(answered, Stream):
                await _send_events(scope, receive, send, viewer, answered)
                return
            status, answer, extra = answered
        except REFUSALS as error:
            status, answer, extra = answer_to_refusal(refusal_of(error), kind, request_id)
        except Disconnected:
            return
        if "errors" in answer:
            summary_of(scope).set_errors(answer)
        content_type, body = (kind or JSON).encode() + b"; charset=utf-8", encode(answer, request_id)
        keeping: Keeping | None = scope["state"].get("keeping")
        if keeping is None or not keeping.allows(status, answer, body):
            await send_answer(send, status, content_type, body, extra)
            return
        kept = keeping.headers(content_type, body)
        if kept.are_those_of(headers):
            await send_unchanged(send, kept)
        else:
            await send_answer(send, status, content_type, body, kept)

    async def answer(self, scope: Scope, receive: Receive, request: GraphQLRequest, viewer: Viewer) -> Answered:
        """Answer one operation of an admitted viewer; `scope` is that of an HTTP request. Raises `REFUSALS`.

        The work for a query ends when `receive` says that the caller has left.
        """
        return await self._answer_before_timeout(scope, receive, request, viewer)

    async def _admit(self, scope: Scope, headers: Headers) -> Viewer:
        """The viewer. A caller without a valid token learns nothing about the rest of the request."""
        if scope["method"] not in _METHODS:
            raise MethodRefused("GET, POST", "Use POST; GET is for queries only.")
        tokenless: TokenlessClient | None = scope["state"].get("tokenless")
        if tokenless is not None and scope["method"] == "GET" and b"authorization" not in headers:
            return await tokenless.admit(scope)
        return await admit(scope)

    async def _answer(self, scope: Scope, receive: Receive, headers: Headers, viewer: Viewer) -> Answered:
        """Answer an operation; raises RequestRefused, also when it takes too long."""
        if scope["state"]["accepts"] == (False, False):
            raise not_acceptable()
        if scope["method"] == "GET":
            request = read_query_string(scope["query_string"])
            return await self._answer_before_timeout(scope, receive, request, viewer)
        body = await receive_body(receive)
        if not may_be_heavy(body):
            return await self._answer_before_timeout(scope, receive, read_body(headers, body), viewer)
        gateway: Gateway = scope["state"]["gateway"]
        async with AsyncExitStack() as place:
            await place.enter_async_context(gateway.heavy_bodies.place(body, viewer.caller, gateway.turns))
            return await self._answer_before_timeout(scope, receive, read_body(headers, body), viewer, place)

    async def _answer_before_timeout(
        self,
        scope: Scope,
        receive: Receive,
        request: GraphQLRequest,
        viewer: Viewer,
        place: AsyncExitStack | None = None,  # that of its heavy body
    ) -> Answered:
        try:
            with Deadline(self._timeout):
                return await self._answer_request(scope, receive, request, viewer, place)
        except TimeoutError:
            raise RequestRefused("TIMEOUT", f"No answer within {self._timeout:g} seconds.", 504) from None

    async def _answer_request(
        self, scope: Scope, receive: Receive, request: GraphQLRequest, viewer: Viewer, place: AsyncExitStack | None
    ) -> Answered:
        gateway: Gateway = scope["state"]["gateway"]
        documents: ClientDocuments | None = scope["state"].get("documents")
        check_tokenless(viewer, request.query is None)
        source = text_alone(request, viewer, documents) or await source_of(request, viewer, documents)
        document = self._documents.find(source.text) or await self._document(source.text, viewer, gateway.turns)
        if source.registered is not None and documents is not None:
            await documents.keep(viewer, source.text, source.registered)
        operation = document.operation(request.operation_name)
        summary_of(scope).operation = operation.label
        policy = public_policy(request, source, operation) if scope["method"] == "GET" else None
        check_tokenless(viewer, policy is not None)
        self._check(scope["method"], viewer, operation)
        units = ceil(self._documents.cost(document, operation, request.variables) / COST_OF_UNIT)
        if operation.is_subscription:
            return await self._subscribe(scope, document, operation, request, viewer, units)
        if not scope["state"]["accepts"].json:
            raise not_acceptable()
        if not operation.is_query:
            units += self._documents.inputs(document, operation, viewer.scopes).count_elements(request.variables)
            await meter_of(scope).take(units)
        request_id = scope["state"].get("request_id", "")
        context = Context(viewer, gateway, request_id, source.trusted)
        if policy is not None:
            context.viewer, context.shown = without_person(viewer), {}
            scope["state"]["keeping"] = Keeping(policy, context.shown)
        run = partial(self._result, document, operation, request, context, units, scope, receive, place)
        if _is_dear(operation, units):
            run = partial(self._in_dear_place, viewer.caller, run)
        if not telemetry.tracing():
            return answer_to_result(await run(), request_id)
        with telemetry.span(operation.span):
            result = await run()
        return answer_to_result(result, request_id)

    async def _in_dear_place(self, caller: Hashable, run: Callable[[], Awaitable[ExecutionResult]]) -> ExecutionResult:
        async with self._dear_place(caller):
            return await run()

    async def _result(
        self,
        document: Document,
        operation: Operation,
        request: GraphQLRequest,
        context: Context,
        units: int,  # of a query: what it takes; a mutation has taken them
        scope: Scope,
        receive: Receive,
        place: AsyncExitStack | None,
    ) -> ExecutionResult:
        gateway, viewer = context.gateway, context.viewer
        inputs = operation.inputs
        if not inputs.scopes <= viewer.scopes:
            inputs = self._documents.inputs(document, operation, viewer.scopes)
        if request.nodes <= _VERY_FEW_NODES:
            variables = self._check_and_coerce(inputs, request)
        else:
            variables = await self._coerce(inputs, request, viewer, gateway.turns)
        deprecated = operation.deprecations.used(request.variables)
        if deprecated:
            gateway.deprecated_uses.note(viewer.client_id, deprecated)
        if not operation.is_query:  # it is finished, and keeps its elements, and its body's place, to the end
            return await self._run(document, operation, variables, context)
        if place is not None:
            await place.aclose()
        meter = meter_of(scope)
        if not meter.limited:
            with while_connected(receive):
                return await self._run(document, operation, variables, context)
        async with meter.taking(units):
            with while_connected(receive):
                return await self._run(document, operation, variables, context)

    async def _subscribe(
        self,
        scope: Scope,
        document: Document,
        operation: Operation,
        request: GraphQLRequest,
        viewer: Viewer,
        units: int,
    ) -> Stream:
        if not scope["state"]["accepts"].events:
            message = "Subscribe by WebSocket, or with Accept: text/event-stream."
            raise RequestRefused("NOT_ACCEPTABLE", message, 406)
        summary_of(scope).operation = f"subscription.{operation.label}"
        gateway, meter = scope["state"]["gateway"], meter_of(scope)

        async def admit_event() -> None:  # one change wakes all subscribers in the same round of the event loop
            await meter.take(units)
            await gateway.turns.take(viewer.caller)

        await meter.take(units)
        inputs = self._documents.inputs(document, operation, viewer.scopes)
        variables = await self._coerce(inputs, request, viewer, gateway.turns)
        gateway.deprecated_uses.note(viewer.client_id, operation.deprecations.used(request.variables))
        context = Context(viewer, gateway, scope["state"].get("request_id", ""))
        return open_stream(
            self._schema, document, operation, variables, context, timeout=self._timeout, admit=admit_event
        )

    @asynccontextmanager
    async def _dear_place(self, caller: Hashable) -> AsyncIterator[None]:
        """The place of a dear operation, so that many of one caller do not slow down everybody."""
        async with AsyncExitStack() as place:
            with suppress(_NoPlace):
                await place.enter_async_context(self._dear.of(caller).place())
            yield

    async def _document(self, text: str, viewer: Viewer, turns: Turns) -> Document:
        hide_suggestions = "schema:read" not in viewer.scopes
        if len(text) <= _SHORT_TEXT:
            await turns.take(viewer.caller)
            return self._documents.read(text, hide_suggestions=hide_suggestions)
        return await self._preparing.result(_Unprepared(text, hide_suggestions, viewer.caller))

    async def _prepare(self, wanted: _Unprepared) -> Document:
        document = await self._slow.run(wanted.caller, self._documents.prepare, wanted.text, wanted.hide_suggestions)
        return self._documents.keep(wanted.text, document)

    async def _coerce(self, inputs: Inputs, request: GraphQLRequest, viewer: Viewer, turns: Turns) -> VariableValues:
        """The coerced variables of the fields that the viewer may read; all bounds are checked before."""
        if request.nodes <= _FEW_NODES:
            if request.nodes > _VERY_FEW_NODES:
                await turns.take(viewer.caller)
            return self._check_and_coerce(inputs, request)
        return await self._slow.run(viewer.caller, self._check_and_coerce, inputs, request)

    def _check_and_coerce(self, inputs: Inputs, request: GraphQLRequest) -> VariableValues:
        if request.nodes * inputs.most_uses <= MAX_NODES:
            plain = plain_values(self._schema, inputs, request.variables)
            if plain is not None:  # no lists and no objects, which alone have bounds
                return plain
        try:
            check_variables(inputs, request.variables, request.nodes)
        except GraphQLError as error:
            raise DocumentInvalid("BAD_USER_INPUT", [error]) from None
        except TooManyElements as error:
            raise refusal_of(error) from None
        return coerce_variables(self._schema, inputs, request.variables)

    def _check(self, method: str, viewer: Viewer, operation: Operation) -> None:
        """Raise RequestRefused for an operation that this viewer may not run, or not by this HTTP method."""
        if method == "GET" and not (operation.is_query or operation.is_subscription):
            raise MethodRefused("POST", "Mutations need POST.")
        if operation.measured.introspects and "schema:read" not in viewer.scopes:
            raise RequestRefused("FORBIDDEN", "Introspection needs the scope schema:read.", 403)

    def _run(
        self, document: Document, operation: Operation, variables: VariableValues, context: Context
    ) -> Awaitable[ExecutionResult]:
        make_executor = partial(executor_of, self._schema, document, operation, variables, context)
        plan = None
        if operation.is_query and not operation.measured.introspects:
            plan = operation.plans.find(variables, make_executor)
        if plan is not None:
            return Run(make_executor, context, variables, optimized_is_awaitable).result(plan)
        return self._executed(operation, make_executor(), context)

    async def _executed(self, operation: Operation, executor: Executor, context: Context) -> ExecutionResult:
        """The result of an operation without a plan."""
        if operation.measured.introspects:  # it asks no store, and can take a second
            return cast(ExecutionResult, await self._slow.run(context.viewer.caller, executor.execute_operation))
        try:
            result = cast(ExecutionResult | Awaitable[ExecutionResult], executor.execute_operation())
            return result if isinstance(result, ExecutionResult) else await result
        finally:
            del executor.async_helpers  # they hold the executor: all that the request read would wait for a collection


def _accepted(headers: Headers) -> tuple[str | None, Accepts]:
    """The media type of one JSON answer, None for a caller who cannot read it; and all that the caller can read."""
    if b"accept" not in headers:
        return _NO_ACCEPT
    kind = choose_media_type(headers)
    return kind, Accepts(kind is not None, accepts_events(headers))


def _is_dear(operation: Operation, units: int) -> bool:
    if not operation.is_query:
        return units > DEAR_MUTATION
    size = operation.measured.size
    return units > DEAR_QUERY or size.fields > MANY_LISTS or size.aliases > MANY_LISTS


async def _send_events(scope: Scope, receive: Receive, send: Send, viewer: Viewer, stream: Stream) -> None:
    """Send a subscription's answers as events, until the token ends: then the stream ends without `complete`."""
    streams: Streams = scope["state"]["streams"]
    async with aclosing(stream.answers) as answers:
        with streams.event_streams.place(), streams.of_caller(viewer.caller):
            ends = streams.end_of(scope["state"]["verifier"], scope["headers"], viewer)
            await send_event_stream(receive, send, _events(answers, scope["state"].get("request_id", "")), ends)


async def _events(answers: AsyncIterator[dict[str, Any]], request_id: str) -> AsyncIterator[bytes]:
    async for answer in answers:
        yield event("next", encode(answer, request_id))
    yield event("complete")
