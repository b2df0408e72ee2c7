"""uvicorn's server: accepts many connections at once, and loses no request on a keep-alive connection at shutdown."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import uvicorn

DRAINING = "draining"  # in the state of requests that come after SIGTERM
ACCEPTED_AT_ONCE = 32  # connections that one iteration of the event loop accepts
RECEIVE_BUFFER = 65_536  # bytes that the system keeps of a connection, also of one that is not accepted yet
LAST_REQUEST_TIMEOUT = 1.0  # seconds in which an open connection may still send one request, its last
SHUTDOWN_TIMEOUT = 28  # seconds after that for the requests still running; both together are less than 30


class GatewayServer(uvicorn.Server):
    """Calls `ready` when it accepts connections. On shutdown it accepts no more and finishes the running requests.

    uvicorn alone closes idle keep-alive connections at once, although a request may be on its way. And uvloop accepts
    one connection per listening socket and iteration: while others open connections faster, new callers wait for
    seconds before anything is read from them. So the server listens on copies of its sockets too.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None = None) -> None:
        config.timeout_graceful_shutdown = SHUTDOWN_TIMEOUT
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and call `ready`."""
        await super().startup(sockets)
        if not self.started:
            return
        for listening in [listening for server in self.servers for listening in server.sockets]:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            for _ in range(ACCEPTED_AT_ONCE - 1):
                self.servers.append(await self._listen(socket.socket(fileno=os.dup(listening.fileno()))))
        if self._ready is not None:
            self._ready()

    async def _listen(self, socket: socket.socket) -> asyncio.Server:
        protocol = partial(  # as uvicorn makes it
            self.config.http_protocol_class,  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return await asyncio.get_running_loop().create_server(protocol, sock=socket, backlog=self.config.backlog)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer one more request per open connection with `connection: close`, finish the rest."""
        self.lifespan.state[DRAINING] = True
        if (streams := self.lifespan.state.get("streams")) is not None:
            streams.ending.set()
        for _ in range(self.config.backlog // ACCEPTED_AT_ONCE):
            await asyncio.sleep(0)  # accept the connections that wait in the backlog: closing now would reset them
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_REQUEST_TIMEOUT):
                while self.server_state.connections and not self.force_exit:  # noqa: ASYNC110 - uvicorn has no event
                    await asyncio.sleep(0.02)
        await super().shutdown(sockets)
