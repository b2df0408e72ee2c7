"""uvicorn's server with a shutdown that loses no request on a keep-alive connection."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

LAST_REQUEST_TIMEOUT = 1.0  # seconds in which an open connection may still send one request, its last
SHUTDOWN_TIMEOUT = 28  # seconds after that for the requests still running; both together are less than 30


class GatewayServer(uvicorn.Server):
    """Calls `ready` when it accepts connections. On shutdown it accepts no more and finishes the running requests.

    uvicorn alone closes idle keep-alive connections at once, although a request may be on its way.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None = None) -> None:
        config.timeout_graceful_shutdown = SHUTDOWN_TIMEOUT
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and call `ready`."""
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer one more request per open connection with `connection: close`, finish the rest."""
        await asyncio.sleep(0)  # accept the connections that wait in the backlog: closing now would reset them
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_REQUEST_TIMEOUT):
                while self.server_state.connections and not self.force_exit:  # noqa: ASYNC110 - uvicorn has no event
                    await asyncio.sleep(0.02)
        await super().shutdown(sockets)
