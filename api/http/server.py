"""uvicorn's server with a farewell: whoever keeps a connection open is told that it will close before it does."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

FAREWELL = 1.0  # seconds a kept connection has to hear, with the answer to its next request, that it is the last
FINISH = 28  # seconds for the requests that are being answered then; both together stay below 30


class Server(uvicorn.Server):
    """Calls `ready` when it accepts connections. Stopped, it accepts no more and finishes what was begun.

    uvicorn alone closes kept connections at once, although a request may be on its way through one of them.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None = None) -> None:
        config.timeout_graceful_shutdown = FINISH
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting, and say so."""
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what comes through kept connections as their last request, finish the rest."""
        await asyncio.sleep(0)  # accept those who are waiting already: closing would cut them off
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self.server_state.connections and not self.force_exit:  # noqa: ASYNC110 - nobody tells us
                    await asyncio.sleep(0.02)
        await super().shutdown(sockets)
