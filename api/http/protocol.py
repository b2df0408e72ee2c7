"""uvicorn's HTTP/1.1 with a time limit on request heads, which uvicorn itself waits for without end."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request head has begun, or never begins, and is not whole in `head_timeout` s."""

    head_timeout: ClassVar[float] = 5.0
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that says nothing has no keep-alive time either: its clock starts at once."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """The first bytes of a later request start its clock: uvicorn stops its keep-alive clock here."""
        super().data_received(data)
        if self._clock is None and (self.cycle is None or self.cycle.response_complete):
            self._start_clock()

    def on_headers_complete(self) -> None:
        """The head is whole; the body is the edge guard's matter."""
        self._stop_clock()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(self.head_timeout, self._give_up)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        self._clock = None
        self.transport.close()
