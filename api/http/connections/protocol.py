"""uvicorn's HTTP/1.1 protocol with limits on what one connection may send. uvicorn itself has none."""

import asyncio
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.errors import RequestRefused
from api.http.connections.heads import check_handshake, check_head
from api.http.connections.turns import Lane, LaneFull, Turns
from api.http.guard import PROBES, WHOLE
from api.http.refusals import refusal_body

MAX_HEAD = 32_768  # bytes of a request's head: request line and headers
MAX_HEADERS = 100  # headers and trailers of a request
MAX_FRAMING = 131_072  # bytes of a chunked body that are not content: sizes, extensions, trailers
SLICE = 4_096  # bytes the parser gets at once: it stops between two slices only
CHUNKED_SLICE = 512  # as SLICE, of a body whose end only the parser knows: requests may follow it
MAX_UNPARSED = 32_768  # bytes that wait unparsed behind a request; from here on no more is read
MAX_UNPARSED_IN_ALL = 16_777_216  # the same of all connections of a process
HEAD_END = b"\r\n\r\n"
LINGER = 1.0  # seconds a refused connection is read on, so that its caller gets the answer instead of a reset
MAX_DISCARDED = 1_048_576  # bytes read in that time
WEBSOCKET_PATH = b"/graphql"
ONE_POLL = 0.001  # seconds; a timer of the event loop runs after its sockets were polled


class GatewayProtocol(HttpToolsProtocol):
    """Refuses a request whose head or framing is too large or unclear, and then closes the connection.

    A head that is not whole `head_timeout` seconds after the connection opened, or after its own first bytes, closes
    the connection too, and so does a caller that leaves an answer unread for `read_timeout` seconds. While a request is
    answered, those behind it on the same connection wait unparsed. Requests start in turns: see `Turns`.
    """

    head_timeout: ClassVar[float] = 5.0
    read_timeout: ClassVar[float] = 30.0
    max_connections: ClassVar[int] = 10_000
    _unparsed_in_all: ClassVar[int] = 0
    _turns: ClassVar[WeakKeyDictionary[ServerState, Turns]] = WeakKeyDictionary()
    _reading: "_Flow"
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _unparsed: bytes = b""
    _counted: int = 0  # bytes of `_unparsed` in `_unparsed_in_all`
    _parsed: int = 0  # bytes of `_unparsed` that the parser has got
    _in_head: bool = True
    _overhead: int = 0  # bytes of this head, or of this body's framing
    _body_left: int = 0  # bytes of this body, where its length was sent
    _headers_seen: int = 0
    _waits: bool = False  # the request of this connection has not started yet
    _refusal: RequestRefused | None = None
    _upgraded: bool = False
    _websocket: bool = False  # this head asks for a WebSocket, where there is one
    _discarded: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: uvicorn's keep-alive timer does not run before the first request."""
        super().connection_made(transport)
        self.flow = self._reading = _Flow(transport)
        if len(self.connections) > self.max_connections:
            self._refusal = RequestRefused("SERVICE_UNAVAILABLE", "Too many connections are open.", 503)
            self.transport.write(self._refusal_bytes(self._refusal))
            self.transport.close()
        else:
            self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed now. Start the timer with the first bytes of a later request."""
        if self._refusal is not None:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._unparsed, self._parsed = self._unparsed[self._parsed :] + data if self._unparsed else data, 0
        self._parse()
        if self._timer is None and not self._websocket and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()

    def on_message_begin(self) -> None:
        """Count the headers of the new request from 0."""
        self._headers_seen = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. A trailer is dropped: it would look like a header that the caller's proxies have checked."""
        self._headers_seen += 1
        if self._headers_seen > MAX_HEADERS:
            raise _too_large(f"A request may have at most {MAX_HEADERS} headers.")
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, and stop the timer: `EdgeGuard` limits the time of the body."""
        upgrade = self.parser.should_upgrade()
        self._websocket = upgrade and self._should_upgrade()
        other_protocol = upgrade and not self._websocket
        check_head(self.parser.get_http_version(), self.headers, bodiless=upgrade)
        if self._websocket:
            check_handshake(self.url, self.headers)
        self._stop_timer()
        self._unset_keepalive_if_required()  # it runs when this head waited for the answer before it
        self._body_left = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()
        self._in_head, self._overhead = False, 0
        if other_protocol:
            self.cycle.keep_alive = False  # the parser cannot say where the next request begins

    def _should_upgrade(self) -> bool:
        """Only a GET of WEBSOCKET_PATH in HTTP/1.1 may become a WebSocket; elsewhere the header is ignored."""
        asked = self.parser.get_method(), self.url.partition(b"?")[0], self.parser.get_http_version()
        return asked == (b"GET", WEBSOCKET_PATH, "1.1") and super()._should_upgrade()

    def on_body(self, body: bytes) -> None:
        """Content is not overhead."""
        self._body_left = max(0, self._body_left - len(body))
        self._overhead = max(0, self._overhead - len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte belongs to another head."""
        self._in_head, self._overhead = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next request, or send the refusal that waited for this answer."""
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._refusal is not None and last:
            self._send_refusal(self._refusal)
        elif self._refusal is None and self._unparsed:
            self._parse()
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection after one more poll of the sockets: on a busy loop, a request may have come."""
        self.timeout_keep_alive_task = self.loop.call_later(ONE_POLL, super().timeout_keep_alive_handler)

    @property
    def unparsed(self) -> int:
        """Bytes that were read and wait for the answers before them."""
        return len(self._unparsed) - self._parsed

    def pause_writing(self) -> None:
        """Give the caller a time to read what was sent."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.read_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads on."""
        self._stop_unread_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers, and forget what was not parsed. A request that never starts would keep this in a cycle."""
        if self.cycle is not None:
            self.cycle.on_response = _do_nothing
        self._stop_timer()
        self._stop_unread_timer()
        self._forget_unparsed()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over when it is this request's turn. Until then no more is read."""
        self.flow.pause_reading()
        try:
            self._own_turns().start(Lane.OTHER, self._caller(self.headers), self._upgrade_now)
        except LaneFull:
            self._refusal = _too_many_waiting()
            self._send_refusal(self._refusal)

    def _upgrade_now(self) -> bool:
        if self.transport.is_closing():
            return False
        behind = bytes(self._unparsed[self._parsed :])
        self._forget_unparsed()
        super().handle_websocket_upgrade()
        self.transport.resume_reading()
        if behind and not self.transport.is_closing():
            self.transport.get_protocol().data_received(behind)  # type: ignore[attr-defined]
        return True

    def _own_turns(self) -> Turns:
        return self._turns.get(self.server_state) or self._turns.setdefault(self.server_state, Turns(self.loop))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the app when it is this request's turn, unless the caller has left until then."""
        caller, self._waits = self._caller(cycle.scope["headers"]), True
        try:
            self._own_turns().start(self._lane(cycle.scope["path"]), caller, partial(self._start_now, cycle, app))
        except LaneFull:
            self.pipeline.clear()
            self._refuse(_too_many_waiting())

    def _start_now(self, cycle: RequestResponseCycle, app: Any) -> bool:
        async def run_unless_left(scope: Any, receive: Any, send: Any) -> None:
            cycle.disconnected |= self.transport.is_closing()
            if not cycle.disconnected:  # the loop has polled once more: a caller that left at once is known by now
                await app(scope, receive, send)

        if cycle.disconnected or self.transport.is_closing():
            return False
        self._waits = False
        cycle.scope["state"][WHOLE] = not (cycle.more_body or cycle.waiting_for_100_continue)
        super()._start_asgi_task(cycle, run_unless_left)
        return True

    def _lane(self, path: str) -> Lane:
        if self.unparsed > self._body_left:
            return Lane.FOLLOWED
        if path in PROBES:
            return Lane.PROBE
        return Lane.OAUTH if path.startswith("/oauth/") else Lane.OTHER

    def _caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Hashable:
        """Who sends this request: the address and the Authorization header, as they are."""
        credentials = next((value for name, value in headers if name == b"authorization"), b"")
        return (self.client or ("",))[0], credentials

    def _parse(self) -> None:
        """Parse in slices until all is parsed, or a request must be answered first: then little more is read."""
        received = memoryview(self._unparsed)
        while self._parsed < len(self._unparsed) and self._may_parse():
            start, self._parsed = self._parsed, self._slice_end()
            self._feed(received[start : self._parsed])
        if self._refusal is not None or not self.unparsed:
            self._forget_unparsed()
            return
        self._reading.held = self.unparsed >= MAX_UNPARSED
        self._count(len(self._unparsed))
        if GatewayProtocol._unparsed_in_all > MAX_UNPARSED_IN_ALL:
            self._refuse(_too_many_behind())
            self._forget_unparsed()
        elif self._reading.held:
            self.flow.pause_reading()

    def _forget_unparsed(self) -> None:
        self._unparsed, self._parsed, self._reading.held = b"", 0, False
        if self._counted:
            self._count(0)

    def _count(self, size: int) -> None:
        GatewayProtocol._unparsed_in_all += size - self._counted
        self._counted = size

    def _slice_end(self) -> int:
        """Where the next slice ends: where its head or body does, if that is known, so that no request follows it."""
        if not self._in_head:
            end = self._parsed + (min(SLICE, self._body_left) or CHUNKED_SLICE)
            return min(end, len(self._unparsed))
        end = min(self._parsed + min(SLICE, MAX_HEAD - self._overhead), len(self._unparsed))
        found = self._unparsed.find(HEAD_END, self._parsed, end)
        return end if found < 0 else found + len(HEAD_END)

    def _may_parse(self) -> bool:
        if self._refusal is not None or self._upgraded or self.pipeline or self.transport.is_closing():
            return False
        return not self._in_head or self.cycle is None or self.cycle.response_complete

    def _feed(self, part: memoryview) -> None:
        self._overhead += len(part)
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            self._upgraded = True
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, RequestRefused) else _not_http())
        else:
            self._check_overhead()

    def _check_overhead(self) -> None:
        if self._in_head and self._overhead >= MAX_HEAD:
            self._refuse(_too_large(f"The head of a request may have at most {MAX_HEAD} bytes."))
        elif not self._in_head and self._overhead > MAX_FRAMING:
            message = f"The chunk sizes, extensions and trailers of a body may have at most {MAX_FRAMING} bytes."
            self._refuse(RequestRefused("PAYLOAD_TOO_LARGE", message, 413))

    def _refuse(self, refusal: RequestRefused) -> None:
        """Answer with `refusal` and close, after the answers to requests that have started."""
        self._refusal = refusal
        if refusal.status == 503 and self._waits and not self.pipeline:  # too many wait: this one need not start
            self._drop(response_started=False)
        elif not self._in_head and self.pipeline:
            self.pipeline.popleft()  # the request itself waits behind others: its app must not start
        elif not self._in_head and self.cycle is not None:
            self._drop(self.cycle.response_started)
        elif self.cycle is None or self.cycle.response_complete:
            self._send_refusal(refusal)

    def _drop(self, response_started: bool) -> None:
        """End a request that cannot be answered: tell its app that the caller is gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if response_started:
            self.transport.close()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)

    def _send_refusal(self, refusal: RequestRefused) -> None:
        """Send the answer and end our side. The caller is read on briefly: closing now would reset the answer.

        Not one whose bytes had to wait: it is one of many, and reading them all on would delay everybody.
        """
        held = self._reading.held
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._forget_unparsed()
        self.transport.write(self._refusal_bytes(refusal))
        if held:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER, self._close)

    def _refusal_bytes(self, refusal: RequestRefused) -> bytes:
        headers, body = refusal_body(refusal)
        lines = [b"%s: %s\r\n" % header for header in [*self.server_state.default_headers, *headers]]
        return b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body])

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self._close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.head_timeout, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _close(self) -> None:
        self._stop_timer()
        self.transport.close()


class _Flow(FlowControl):
    """Reads no more while it is `held`, even when an app waits for its caller to leave.

    It knows no protocol: a connection in a cycle would wait for a garbage collection.
    """

    held = False  # much waits unparsed

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


def _do_nothing() -> None:
    """What follows an answer on a closed connection."""


def _too_many_waiting() -> RequestRefused:
    return RequestRefused("SERVICE_UNAVAILABLE", "Too many requests are waiting: try again.", 503)


def _too_many_behind() -> RequestRefused:
    message = "Too many requests wait behind others: wait for an answer before you send the next request."
    return RequestRefused("SERVICE_UNAVAILABLE", message, 503)


def _too_large(message: str) -> RequestRefused:
    return RequestRefused("HEADERS_TOO_LARGE", message, 431)


def _not_http() -> RequestRefused:
    return RequestRefused("BAD_REQUEST", "The request is not valid HTTP.", 400)
