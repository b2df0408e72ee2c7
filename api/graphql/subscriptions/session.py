"""One WebSocket connection: who it belongs to, its operations, and why it ends."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from time import monotonic, perf_counter
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from starlette.types import Message, Receive, Scope, Send

from api.errors import REFUSALS, RequestRefused, masked_answer, refusal_of
from api.graphql.request.answering import Asked
from api.graphql.request.answers.encoding import encode
from api.graphql.request.endpoint import Accepts, GraphQLEndpoint
from api.graphql.request.subscribing import Stream, refused_answer
from api.graphql.subscriptions.messages import (
    Close,
    Closed,
    Complete,
    Init,
    Ping,
    Received,
    Subscribe,
    read_message,
)
from api.http.request_metrics import RequestSummary
from api.http.streaming.streams import Streams, holds_after_a_while
from api.limits.limits import admit, meter_of
from core import metrics
from core.tasks import end
from engine.viewer import Viewer

log = structlog.get_logger()

INIT_TIMEOUT: Final = 10.0  # seconds until the first message
IDLE: Final = 300.0  # seconds without an operation
MOST_OPERATIONS: Final = 20  # of a connection at a time
MOST_MESSAGES: Final = 1_000  # of a connection in PERIOD
PERIOD: Final = 10.0  # seconds


class Session:
    """Answers the operations of one accepted connection.

    Each operation is admitted, limited and answered as a request over HTTP is. Mutations are refused: a connection
    that breaks would leave its caller in doubt. `begun` is called when the connection has named its client.
    """

    def __init__(
        self, endpoint: GraphQLEndpoint, scope: Scope, receive: Receive, send: Send, begun: Callable[[], None]
    ) -> None:
        self._endpoint, self._scope = endpoint, scope
        self._receive, self._send, self._begun = receive, send, begun
        self._streams: Streams = scope["state"]["streams"]
        self._headers = [header for header in scope["headers"] if header[0] == b"authorization"]
        self._initialised = asyncio.Event()
        self._viewer: Viewer | None = None
        self._counted = AsyncExitStack()  # counts the connection among those of its caller
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the running operations, and those that are ending
        self._used_at = monotonic()
        self._messages, self._period_began = 0, monotonic()

    async def run(self) -> None:
        """Read and answer messages until the connection ends, and close it if its caller has not."""
        parts = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
        async with self._counted:
            try:
                ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                close = _reason(ended.pop())
            finally:
                await end([*parts, *self._tasks])
        if close is not None:
            code, reason = close.value
            with suppress(OSError, RuntimeError):  # it is closed already
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _read(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            self._count_message()
            await self._take(read_message(_text(message)))

    def _count_message(self) -> None:
        now = monotonic()
        if now - self._period_began > PERIOD:
            self._messages, self._period_began = 0, now
        self._messages += 1
        if self._messages > MOST_MESSAGES:
            raise Closed(Close.TOO_MANY_MESSAGES)

    async def _watch(self) -> None:
        """Raise Closed when the caller does not begin, when the token ends, and when nothing runs for long."""
        try:
            async with asyncio.timeout(INIT_TIMEOUT):
                await self._initialised.wait()
        except TimeoutError:
            raise Closed(Close.TOO_SLOW) from None
        assert self._viewer is not None
        verifier = self._scope["state"]["verifier"]
        while await holds_after_a_while(verifier, self._headers, self._viewer):  # a task for it would cost each socket
            if not self._tasks and monotonic() - self._used_at > IDLE:
                raise Closed(Close.IDLE)
        raise Closed(Close.TOKEN_ENDED)

    async def _take(self, message: Received) -> None:
        if isinstance(message, Ping):
            await self._say({"type": "pong"})
        elif isinstance(message, Init):
            await self._init(message)
        elif isinstance(message, Subscribe):
            await self._subscribe(message)
        elif isinstance(message, Complete) and (task := self._running.pop(message.id, None)):
            task.cancel()

    async def _init(self, message: Init) -> None:
        if self._viewer is not None:
            raise Closed(Close.TOO_MANY_INITS)
        if message.authorization is not None:
            self._headers = [(b"authorization", message.authorization.encode())]
        scope = self._operation_scope()
        try:
            viewer = await admit(scope)
            await meter_of(scope).take(1)
            self._counted.enter_context(self._streams.of_caller(viewer.caller))
        except RequestRefused as refusal:
            raise Closed(Close.TOKEN_REFUSED if refusal.status == 401 else Close.TRY_AGAIN) from None
        self._viewer = viewer
        self._begun()
        self._initialised.set()
        await self._say({"type": "connection_ack"})

    async def _subscribe(self, message: Subscribe) -> None:
        if self._viewer is None:
            raise Closed(Close.NOT_INITIALISED)
        if message.id in self._running:
            raise Closed(Close.SAME_ID)
        if len(self._tasks) >= MOST_OPERATIONS:
            text = f"A connection may have at most {MOST_OPERATIONS} operations at a time."
            await self._say_error(message.id, refused_answer(RequestRefused("RATE_LIMITED", text, 429), ""))
            return
        task = self._running[message.id] = asyncio.create_task(self._operate(message))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._used_at = monotonic()

    async def _operate(self, message: Subscribe) -> None:
        scope = self._operation_scope()
        request_id = scope["state"]["request_id"]
        structlog.contextvars.bind_contextvars(request_id=request_id)
        with suppress(OSError):  # the connection broke
            try:
                await self._answer(message, scope)
            except REFUSALS as error:
                await self._end(message.id, refused_answer(refusal_of(error), request_id))
            except OSError:
                raise
            except Exception:
                log.exception("operation_failed", request_id=request_id)
                await self._end(message.id, masked_answer(request_id))

    async def _answer(self, message: Subscribe, scope: Scope) -> None:
        began, summary = perf_counter(), scope["state"]["request_summary"]
        viewer = await admit(scope)
        await scope["state"]["gateway"].turns.take(viewer.caller)
        with self._streams.operations.place():
            answered = await self._endpoint.operations.answer(Asked(scope, _never, message.request, viewer))
        if isinstance(answered, Stream):
            async with aclosing(answered.answers) as answers:
                async for answer in answers:
                    await self._say_next(message.id, answer, scope)
        else:
            status, answer, _ = answered
            summary.set_status(status)
            if "errors" in answer:
                summary.set_errors(answer)
            metrics.REQUESTS.labels(summary.operation, summary.outcome).observe(perf_counter() - began)
            await self._say_next(message.id, answer, scope)
        await self._end(message.id)

    async def _end(self, id: str, refused: dict[str, Any] | None = None) -> None:
        """Say that an operation has ended. From then on its id may be used again."""
        if self._running.get(id) is asyncio.current_task():
            del self._running[id]
        if refused is None:
            await self._say({"id": id, "type": "complete"})
        else:
            await self._say_error(id, refused)

    async def _say_error(self, id: str, refused: dict[str, Any]) -> None:
        await self._say({"id": id, "type": "error", "payload": refused["errors"]})

    async def _say_next(self, id: str, answer: dict[str, Any], scope: Scope) -> None:
        payload = orjson.Fragment(encode(answer, scope["state"]["request_id"]))
        await self._say({"id": id, "type": "next", "payload": payload})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": orjson.dumps(message).decode()})

    def _operation_scope(self) -> Scope:
        """The scope of a request over HTTP that has one operation of this connection."""
        state = self._scope["state"] | {
            "request_id": uuid4().hex,
            "request_summary": RequestSummary("other"),
            "accepts": Accepts(json=True, events=True),
        }
        own = [header for header in self._scope["headers"] if header[0] != b"authorization"]
        asked = {"type": "http", "method": "GET", "headers": [*own, *self._headers], "state": state}
        return {**self._scope, **asked}


def _text(message: Message) -> Any:
    return message.get("text")


def _reason(ended: asyncio.Task[None]) -> Close | None:
    """Why a part of a session ended; None when the caller closed the connection."""
    error = ended.exception()
    if error is None or isinstance(error, OSError):
        return None
    if isinstance(error, Closed):
        return error.close
    log.error("websocket_failed", exc_info=error)
    return Close.FAILED


async def _never() -> Any:
    """A `receive` for operations: `Session` watches their caller."""
    await asyncio.Future[None]()
