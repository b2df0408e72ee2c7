"""The first middleware that may refuse a request: gives it an id, and limits the size and the time of its body."""

import asyncio
from uuid import uuid4

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import RequestRefused, error_answer


class EdgeGuard:
    """Pure ASGI middleware. It reads the whole body before the app behind it runs.

    `max_body` is in bytes; `timeout` is the seconds a caller has to send the body.
    """

    def __init__(self, app: ASGIApp, *, max_body: int, timeout: float) -> None:
        self._app = app
        self._max_body = max_body
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it and close the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        send_with_id = _send_with_id(send, request_id)
        try:
            receive_read = await self._read_ahead(scope, receive)
        except RequestRefused as refusal:
            await _refuse(send_with_id, refusal)
        except _Disconnected:
            return
        else:
            await self._app(scope, receive_read, send_with_id)
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    async def _read_ahead(self, scope: Scope, receive: Receive) -> Receive:
        """A `receive` for the app that has the body already; `receive` itself when the request has no body."""
        framing = {name: value for name, value in scope["headers"] if name in _FRAMING}
        if not framing:
            return receive
        if len(framing) > 1:
            raise RequestRefused("BAD_REQUEST", "Content-Length and Transfer-Encoding cannot both be sent.", 400)
        length = framing.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(receive)
        except TimeoutError:
            raise RequestRefused("REQUEST_TIMEOUT", f"The body did not arrive in {self._timeout:g} s.", 408) from None
        return _receive_of(body, receive)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> RequestRefused:
        return RequestRefused("PAYLOAD_TOO_LARGE", f"A body may have at most {self._max_body} bytes.", 413)


_FRAMING = (b"content-length", b"transfer-encoding")


class _Disconnected(Exception):
    """The caller closed the connection before the whole body arrived."""


def _receive_of(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the whole body first, and then what the server sends."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_body_first() -> Message:
        return unread.pop() if unread else await receive()

    return receive_body_first


def _send_with_id(send: Send, request_id: str) -> Send:
    """A `send` that adds the request's id to the headers of the answer."""
    header = (b"x-request-id", request_id.encode())

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return send_with_id


async def _refuse(send: Send, refusal: RequestRefused) -> None:
    body = orjson.dumps(error_answer(refusal.code, str(refusal)))
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
