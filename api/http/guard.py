"""The first middleware that may refuse a request: gives it an id, and limits its body and the requests at work."""

import asyncio
import os
from contextlib import suppress

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import RequestRefused
from api.http.refusals import refusal_body

MAX_IN_FLIGHT = 1000  # requests of a process that were received whole and are not answered yet
SMALL_BODY = 65_536  # bytes; what a body has beyond them counts in MAX_LARGE_BODIES
MAX_LARGE_BODIES = 134_217_728  # bytes that all larger bodies of a process may hold while they arrive
LINGER = 1.0  # seconds a body that is too large is read on, so that its caller gets the answer instead of a reset
MAX_DISCARDED = 16_777_216  # bytes read in that time
WHOLE = "body_is_whole"  # in the state of requests whose body the server has read already
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})  # cheap, and needed most when the process is busy


class EdgeGuard:
    """Pure ASGI middleware. It reads the whole body before the app behind it runs.

    `max_body` is in bytes; `timeout` is the seconds a caller has to send the body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body: int,
        timeout: float,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_large_bodies: int = MAX_LARGE_BODIES,
    ) -> None:
        self._app = app
        self._max_body = max_body
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._max_large_bodies = max_large_bodies
        self._in_flight = 0
        self._large_bodies = 0  # bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it and close the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = os.urandom(16).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        send_with_id = _send_with_id(send, request_id)
        try:
            receive_read = await self._read_ahead(scope, receive)
            if self._in_flight >= self._max_in_flight and scope["path"] not in PROBES:
                raise RequestRefused("SERVICE_UNAVAILABLE", "Too many requests are running: try again.", 503)
        except RequestRefused as refusal:
            await self._refuse(receive, send_with_id, refusal)
        except _Disconnected:
            return
        else:
            self._in_flight += 1
            try:
                await self._app(scope, receive_read, send_with_id)
            finally:
                self._in_flight -= 1
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
        if scope["state"].get(WHOLE):
            return _receive_of(await self._read(receive), receive)
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(receive)
        except TimeoutError:
            raise RequestRefused("REQUEST_TIMEOUT", f"The body did not arrive in {self._timeout:g} s.", 408) from None
        return _receive_of(body, receive)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, large, more = 0, 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self._max_body:
                    raise self._too_large()
                grown = max(0, size - SMALL_BODY) - large
                large += grown
                self._large_bodies += grown
                if grown and self._large_bodies > self._max_large_bodies:
                    raise RequestRefused("SERVICE_UNAVAILABLE", "Too many large bodies at once: try again.", 503)
                more = message.get("more_body", False)
        finally:
            self._large_bodies -= large
        return b"".join(parts)

    def _too_large(self) -> RequestRefused:
        return RequestRefused("PAYLOAD_TOO_LARGE", f"A body may have at most {self._max_body} bytes.", 413)

    async def _refuse(self, receive: Receive, send: Send, refusal: RequestRefused) -> None:
        """Send the answer, read on for a moment, then end the answer: with it uvicorn closes the connection."""
        headers, body = refusal_body(refusal)
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if refusal.status == 413:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LINGER, self._timeout)):
                    await _discard(receive)
        await send({"type": "http.response.body", "body": b""})


async def _discard(receive: Receive) -> None:
    """Read the rest of the body, at most `MAX_DISCARDED` bytes of it."""
    left, more = MAX_DISCARDED, True
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)


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
