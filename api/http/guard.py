"""The edge: names each request, bounds its body in size and time, and refuses what could be read in two ways."""

import asyncio
from uuid import uuid4

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import RequestRefused


class EdgeGuard:
    """Pure ASGI middleware. The app behind it gets a body that is there already, whole and small enough.

    `max_body` is in bytes; `timeout` is the seconds a caller has to send a body it announced.
    """

    def __init__(self, app: ASGIApp, *, max_body: int, timeout: float) -> None:
        self._app = app
        self._max_body = max_body
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit one request, or answer it here and close the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        named = _naming(send, request_id)
        try:
            admitted = await self._admit(scope, receive)
        except RequestRefused as refusal:
            await _refuse(named, refusal)
        except _Gone:
            return
        else:
            await self._app(scope, admitted, named)
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` for the app, with the body already read when one was announced."""
        announced = {name: value for name, value in scope["headers"] if name in _FRAMING}
        if not announced:
            return receive
        if len(announced) > 1:
            raise RequestRefused("BAD_REQUEST", "Content-Length and Transfer-Encoding cannot both be sent.", 400)
        length = announced.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(receive)
        except TimeoutError:
            raise RequestRefused("REQUEST_TIMEOUT", f"The body did not arrive in {self._timeout:g} s.", 408) from None
        return _replay(body, receive)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> RequestRefused:
        return RequestRefused("PAYLOAD_TOO_LARGE", f"A body may have {self._max_body} bytes.", 413)


_FRAMING = (b"content-length", b"transfer-encoding")


class _Gone(Exception):
    """The caller hung up before the body was there."""


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body once, and after that what the server says."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _naming(send: Send, request_id: str) -> Send:
    """A `send` that puts the request's id on the answer."""
    header = (b"x-request-id", request_id.encode())

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return named


async def _refuse(send: Send, refusal: RequestRefused) -> None:
    body = orjson.dumps({"errors": [{"message": str(refusal), "extensions": {"code": refusal.code}}]})
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
