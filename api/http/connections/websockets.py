"""uvicorn's WebSocket protocol with limits on what one connection may send and leave unread."""

import asyncio
import logging
from typing import Any, ClassVar

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

MAX_MESSAGE = 65_536  # bytes
MAX_FRAGMENTS = 64  # frames of a message
SLICE = 1_024  # bytes that are parsed in one iteration of the event loop, 170 of the smallest frames
PING_INTERVAL = 20.0  # seconds; a caller that leaves a ping unanswered for as long is gone
CLOSE_TIMEOUT = 2.0  # seconds that a caller has to answer a close
_QUIET = logging.getLogger("penchant.websockets")  # uvicorn and the library log URLs and headers, which hold tokens
_QUIET.setLevel(logging.ERROR)


class GatewayWebSocket(WebSocketsSansIOProtocol):
    """Closes a connection that leaves what was sent unread for `read_timeout` seconds. Nothing is compressed.

    uvicorn alone parses all it has read at once, keeps any number of fragments of a message, reads on from a caller
    that does not read its pongs, and closes with 1012 at shutdown.
    """

    read_timeout: ClassVar[float] = 30.0
    _unread: asyncio.TimerHandle | None = None
    _scheduled: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _QUIET
        self.conn.debug = False
        self.conn.max_message_size = MAX_MESSAGE
        self.conn.available_extensions = []
        self.ping_interval = self.ping_timeout = PING_INTERVAL
        self.close_timeout = CLOSE_TIMEOUT
        self._unparsed = bytearray()

    def data_received(self, data: bytes) -> None:
        """Parse one slice now and the others later, as long as no message waits for the app."""
        self._unparsed += data
        if not self._scheduled:
            self._parse_slice()

    async def receive(self) -> Any:
        """The next message. Those behind it are parsed when no other waits."""
        message = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        if self.queue.empty():
            self._schedule()
        return message

    async def send(self, message: Any) -> None:
        """Send a message. What came behind the handshake is parsed when the app has accepted.

        Raises ClientDisconnected also when the connection was closed from here, where uvicorn would find an error in
        the app.
        """
        if self.close_sent and message["type"] == "websocket.send":
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.accept":
            if self.handshake_complete:  # nobody reads them any more, and each collection of garbage would
                del self.request, self.response
            self._schedule()

    def handle_cont(self, event: Frame) -> None:
        """Keep a fragment, unless there are too many."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; uvicorn would log a traceback for text that is not UTF-8."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "not UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Tell the app why, and close. A handshake that cannot be read has no app yet."""
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Give the caller a time to read what was sent, and read no more meanwhile: each ping makes a pong."""
        super().pause_writing()
        self.transport.pause_reading()
        self._unread = self.loop.call_later(self.read_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads on."""
        self._stop_unread_timer()
        super().resume_writing()
        if not (self.read_paused or self._scheduled):
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and forget what was not parsed."""
        self._stop_unread_timer()
        self._unparsed.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Say that the server goes away: clients connect again, to another one."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.GOING_AWAY})
            self.conn.send_close(CloseCode.GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()

    def _schedule(self) -> None:
        if self._unparsed and not self._scheduled and self._may_parse():
            self._scheduled = True
            self.transport.pause_reading()
            self.loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._scheduled = False
        self._parse_slice()
        if not (self._scheduled or self.read_paused or self.transport.is_closing()) and self.writable.is_set():
            self.transport.resume_reading()

    def _parse_slice(self) -> None:
        if self._may_parse():
            part = bytes(self._unparsed[:SLICE])
            del self._unparsed[:SLICE]
            super().data_received(part)
        elif self._unparsed and not self.transport.is_closing():  # the app has not accepted yet
            self.transport.pause_reading()
        self._schedule()

    def _may_parse(self) -> bool:
        if self.read_paused or self.transport.is_closing():
            return False
        return self.handshake_complete or not self.handshake_initiated

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def _stop_unread_timer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
