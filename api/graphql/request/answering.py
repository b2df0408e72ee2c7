"""Answers the operations of admitted viewers: finds the document, checks the operation, runs it before its deadline."""

from collections.abc import AsyncIterator, Awaitable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from graphql import ExecutionResult, GraphQLError, GraphQLSchema
from graphql.execution.values import VariableValues
from starlette.types import Receive, Scope
from strawberry.execution import optimized_is_awaitable

from api.errors import RequestRefused, refusal_of
from api.graphql.cache_policy import CachePolicy
from api.graphql.context import Context
from api.graphql.execution.executor import Executor
from api.graphql.planning.running import Run
from api.graphql.request.answers.encoding import answer_to_result
from api.graphql.request.answers.public import Keeping, public_policy, without_person
from api.graphql.request.answers.tokenless import check_tokenless
from api.graphql.request.coercion import coerce_variables, plain_values
from api.graphql.request.documents import Document, Documents, Operation, executor_of
from api.graphql.request.limits import is_dear, units_of
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.request.persisted.store import ClientDocuments
from api.graphql.request.persisted.texts import Source, source_of
from api.graphql.request.reading import GraphQLRequest, not_acceptable
from api.graphql.request.slow_work import SlowWork
from api.graphql.request.subscribing import Stream, open_stream
from api.graphql.request.variables import Inputs, check_variables
from api.http.disconnects import while_connected
from api.http.endpoint import Header, MethodRefused
from api.http.json_body import MAX_NODES
from api.http.request_metrics import summary_of
from api.limits.limits import meter_of
from core import telemetry
from core.bulkhead import Bulkhead, CallerBulkheads
from core.coarse_timers import Deadline
from core.errors import TooManyElements
from core.single_flight import SingleFlight
from core.turns import Turns
from engine.viewer import Viewer

Answered = tuple[int, dict[str, Any], list[Header]] | Stream  # status, body and more headers, or many answers
_SHORT_TEXT = 500  # characters of a document; longer ones are prepared in a thread
DEAR_AT_ONCE = 2  # dear operations of a caller
DEAR_PATIENCE = 1.0  # seconds; then another begins: those before it may wait for a store
_DEAR_WAITING = 1_000
_VERY_FEW_NODES = 200  # JSON values; more are checked in a turn of the caller
_FEW_NODES = 12_000  # JSON values; more are checked in a thread. A batch of 500 full events has 10,000


@dataclass(slots=True)
class Asked:
    """One request of an admitted viewer. `scope` is that of an HTTP request; `place` is that of a heavy body."""

    scope: Scope
    receive: Receive
    request: GraphQLRequest
    viewer: Viewer
    place: AsyncExitStack | None = None
    deadline: Deadline | None = None  # once it runs


@dataclass(frozen=True, slots=True)
class _Unprepared:
    """A document that is not kept; callers who want the same one wait for the same work, in the first one's place."""

    text: str
    hide_suggestions: bool
    caller: Hashable = field(compare=False)


class _NoPlace(Exception):
    """A dear operation has waited long enough for those before it."""


class Operations:
    """Answers operations, each within `timeout` seconds. The work for a query ends when its caller has left."""

    def __init__(self, schema: GraphQLSchema, timeout: float) -> None:
        self._schema = schema
        self._documents = Documents(schema)
        self._documents.prepare("{ __typename }")  # the first one takes 50 ms: it makes the types of the schema
        self._timeout = timeout
        self.slow = SlowWork()
        self._preparing = SingleFlight(self._prepare)
        self._dear = CallerBulkheads(
            partial(Bulkhead, DEAR_AT_ONCE, waiting=_DEAR_WAITING, patience=DEAR_PATIENCE, refuse=_NoPlace)
        )

    async def answer(self, asked: Asked) -> Answered:
        """The answer to a request. Raises `REFUSALS`, also when it takes too long, and Disconnected."""
        try:
            with Deadline(self._timeout) as asked.deadline:
                document = self._kept(asked)
                operation = None if document is None else document.only
                if document is None or operation is None or not _is_usual(asked, operation):
                    return await self._answer(asked, document)
                state = asked.scope["state"]
                summary_of(asked.scope).operation = operation.label
                context = Context(asked.viewer, state["gateway"], state.get("request_id", ""))
                return answer_to_result(
                    await self._result(asked, document, operation, context, operation.units), context.request_id
                )
        except TimeoutError:
            raise RequestRefused("TIMEOUT", f"No answer within {self._timeout:g} seconds.", 504) from None

    async def _answer(self, asked: Asked, document: Document | None) -> Answered:
        """The answer to any request; `document` is the one that is kept for it."""
        scope, request, viewer = asked.scope, asked.request, asked.viewer
        state, source = scope["state"], None
        if document is None:
            document, source = await self._find(asked)
        operation = document.operation(request.operation_name)
        summary_of(scope).operation = operation.label
        policy = None
        if scope["method"] == "GET" or operation.measured.introspects:
            policy = _check(asked, source, operation)
        cost = operation.fixed_cost or self._documents.cost(document, operation, request.variables)
        units = units_of(cost)
        if operation.is_subscription:
            return await self._subscribe(scope, document, operation, request, viewer, units)
        if not state["accepts"].json:
            raise not_acceptable()
        if not operation.is_query:
            units += self._documents.inputs(document, operation, viewer.scopes).count_elements(request.variables)
            await meter_of(scope).take(units)
        request_id = state.get("request_id", "")
        context = Context(viewer, state["gateway"], request_id, source and source.trusted)
        if policy is not None:
            context.viewer, context.shown = without_person(viewer), {}
            state["keeping"] = Keeping(policy, context.shown)
        run = self._in_dear_place if is_dear(operation.is_query, operation.measured.size, units) else self._result
        if not telemetry.tracing():
            return answer_to_result(await run(asked, document, operation, context, units), request_id)
        with telemetry.span(operation.span):
            result = await run(asked, document, operation, context, units)
        return answer_to_result(result, request_id)

    def _kept(self, asked: Asked) -> Document | None:
        """The document of a request that sends its text, where it is kept and nothing has to be read for it."""
        request = asked.request
        if request.query is None or request.document_id is not None:
            return None
        documents: ClientDocuments | None = asked.scope["state"].get("documents")
        if documents is not None and not documents.takes_texts(asked.viewer.client_id):
            return None
        return self._documents.find(request.query)

    async def _find(self, asked: Asked) -> tuple[Document, Source]:
        """The document that a request sends or names, with its source."""
        viewer, state = asked.viewer, asked.scope["state"]
        documents: ClientDocuments | None = state.get("documents")
        source = await source_of(asked.request, viewer, documents)
        document = self._documents.find(source.text)
        if document is None:
            document = await self._document(source.text, viewer, state["gateway"].turns)
        if source.registered is not None and documents is not None:
            await documents.keep(viewer, source.text, source.registered)
        return document, source

    async def _in_dear_place(
        self, asked: Asked, document: Document, operation: Operation, context: Context, units: int
    ) -> ExecutionResult:
        async with self._dear_place(asked.viewer.caller):
            return await self._result(asked, document, operation, context, units)

    async def _result(
        self, asked: Asked, document: Document, operation: Operation, context: Context, units: int
    ) -> ExecutionResult:
        """The result of an operation that may run. `units` are what a query takes; a mutation has taken them."""
        gateway, viewer, request = context.gateway, context.viewer, asked.request
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
        if asked.place is not None:
            await asked.place.aclose()
        meter = meter_of(asked.scope)
        if not meter.limited:
            with while_connected(asked.receive, asked.deadline):
                return await self._run(document, operation, variables, context)
        async with meter.taking(units):
            with while_connected(asked.receive, asked.deadline):
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
        document = await self.slow.run(wanted.caller, self._documents.prepare, wanted.text, wanted.hide_suggestions)
        return self._documents.keep(wanted.text, document)

    async def _coerce(self, inputs: Inputs, request: GraphQLRequest, viewer: Viewer, turns: Turns) -> VariableValues:
        """The coerced variables of the fields that the viewer may read; all bounds are checked before."""
        if request.nodes <= _FEW_NODES:
            if request.nodes > _VERY_FEW_NODES:
                await turns.take(viewer.caller)
            return self._check_and_coerce(inputs, request)
        return await self.slow.run(viewer.caller, self._check_and_coerce, inputs, request)

    def _check_and_coerce(self, inputs: Inputs, request: GraphQLRequest) -> VariableValues:
        plain = None
        if request.nodes * inputs.most_uses <= MAX_NODES:
            plain = plain_values(self._schema, inputs, request.variables)
            if plain is not None and not inputs.has_lists:  # which, with objects, alone have bounds
                return plain
        try:
            check_variables(inputs, request.variables, request.nodes)
        except GraphQLError as error:
            raise DocumentInvalid("BAD_USER_INPUT", [error]) from None
        except TooManyElements as error:
            raise refusal_of(error) from None
        return plain or coerce_variables(self._schema, inputs, request.variables)

    def _run(
        self, document: Document, operation: Operation, variables: VariableValues, context: Context
    ) -> Awaitable[ExecutionResult]:
        make_executor = partial(executor_of, self._schema, document, operation, variables, context)
        plan = operation.plans.only
        if plan is None and operation.is_query and not operation.measured.introspects:
            plan = operation.plans.find(variables, make_executor)
        if plan is not None:
            return Run(make_executor, context, variables, optimized_is_awaitable).result(plan.answer)
        return self._executed(operation, make_executor(), context)

    async def _executed(self, operation: Operation, executor: Executor, context: Context) -> ExecutionResult:
        """The result of an operation without a plan."""
        if operation.measured.introspects:  # it asks no store, and can take a second
            return cast(ExecutionResult, await self.slow.run(context.viewer.caller, executor.execute_operation))
        try:
            result = cast(ExecutionResult | Awaitable[ExecutionResult], executor.execute_operation())
            return result if isinstance(result, ExecutionResult) else await result
        finally:
            del executor.async_helpers  # they hold the executor: all that the request read would wait for a collection


def _check(asked: Asked, source: Source | None, operation: Operation) -> CachePolicy | None:
    """The policy of an answer that everybody may keep.

    Raises RequestRefused for an operation that this viewer may not run, or not by this HTTP method.
    """
    policy = None
    if asked.scope["method"] == "GET":
        policy = public_policy(asked.request, source, operation)
        check_tokenless(asked.viewer, policy is not None)
        if not (operation.is_query or operation.is_subscription):
            raise MethodRefused("POST", "Mutations need POST.")
    if operation.measured.introspects and "schema:read" not in asked.viewer.scopes:
        raise RequestRefused("FORBIDDEN", "Introspection needs the scope schema:read.", 403)
    return policy


def _is_usual(asked: Asked, operation: Operation) -> bool:
    """Whether only the operation decides how a request is answered: it is a usual one."""
    scope = asked.scope
    return (
        operation.is_usual
        and scope["method"] == "POST"
        and asked.request.operation_name in operation.names
        and scope["state"]["accepts"].json
        and not telemetry.tracing()
    )
