"""uvicorn's HTTP/1.1 protocol with limits on what one connection may send. uvicorn itself has none."""

import asyncio
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import RequestRefused
from api.http.heads import check_head
from api.http.refusals import refusal_body

MAX_HEAD = 32_768  # bytes of a request's head: request line and headers
MAX_HEADERS = 100  # headers and trailers of a request
MAX_FRAMING = 131_072  # bytes of a chunked body that are not content: sizes, extensions, trailers
SLICE = 4_096  # bytes the parser gets at once: it stops between two slices only
LINGER = 1.0  # seconds a refused connection is read on, so that its caller gets the answer instead of a reset
MAX_DISCARDED = 1_048_576  # bytes read in that time


class GatewayProtocol(HttpToolsProtocol):
    """Refuses a request whose head or framing is too large or unclear, and then closes the connection.

    A head that is not whole `head_timeout` seconds after the connection opened, or after its own first bytes, closes
    the connection too. While a request is answered, those behind it on the same connection wait unparsed.
    """

    head_timeout: ClassVar[float] = 5.0
    max_connections: ClassVar[int] = 10_000
    _timer: asyncio.TimerHandle | None = None
    _unparsed: bytes = b""
    _in_head: bool = True
    _overhead: int = 0  # bytes of this head, or of this body's framing
    _headers_seen: int = 0
    _refusal: RequestRefused | None = None
    _upgraded: bool = False
    _discarded: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: uvicorn's keep-alive timer does not run before the first request."""
        super().connection_made(transport)
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
        self._unparsed += data
        self._parse()
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
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
        other_protocol = self.parser.should_upgrade() and not self._should_upgrade()
        check_head(self.parser.get_http_version(), self.headers, bodiless=other_protocol)
        super().on_headers_complete()
        self._stop_timer()
        self._in_head, self._overhead = False, 0
        if other_protocol:
            self.cycle.keep_alive = False  # the parser cannot say where the next request begins

    def on_body(self, body: bytes) -> None:
        """Content is not overhead."""
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

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and forget what was not parsed."""
        self._stop_timer()
        self._unparsed = b""
        super().connection_lost(exc)

    def _parse(self) -> None:
        """Parse in slices until all is parsed or a request must be answered first; then read no more until it is."""
        unparsed, start = memoryview(self._unparsed), 0
        while start < len(unparsed) and self._may_parse():
            end = start + (min(SLICE, MAX_HEAD - self._overhead) if self._in_head else SLICE)
            self._feed(unparsed[start:end])
            start = end
        self._unparsed = b"" if self._refusal else bytes(unparsed[start:])
        if self._unparsed:
            self.flow.pause_reading()

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
        """Answer with `refusal` and close, after the answers to the requests before this one."""
        self._refusal = refusal
        if not self._in_head and self.pipeline:
            self.pipeline.popleft()  # the request itself waits behind others: its app must not start
        elif not self._in_head and self.cycle is not None:
            self._drop(self.cycle.response_started)
        elif self.cycle is None or self.cycle.response_complete:
            self._send_refusal(refusal)

    def _drop(self, response_started: bool) -> None:
        """End a request whose body is broken: tell its app that the caller is gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if response_started:
            self.transport.close()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)

    def _send_refusal(self, refusal: RequestRefused) -> None:
        """Send the answer and end our side. The caller is read on briefly: closing now would reset the answer."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        self.transport.write(self._refusal_bytes(refusal))
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

    def _close(self) -> None:
        self._stop_timer()
        self.transport.close()


def _too_large(message: str) -> RequestRefused:
    return RequestRefused("HEADERS_TOO_LARGE", message, 431)


def _not_http() -> RequestRefused:
    return RequestRefused("BAD_REQUEST", "The request is not valid HTTP.", 400)
