"""A connection that has sent nothing yet: it costs little, because a stranger can open thousands.

uvicorn makes a parser, timers and two dozen objects of each connection. Python's garbage collector looks at all of them
at once, and nobody is answered meanwhile: with 5,000 connections that took 64 ms.
"""

import asyncio
from itertools import islice
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.server import ServerState

from api.http.connections.protocol import GatewayProtocol

CLOSED_AT_ONCE = 100  # silent connections in one iteration of the event loop


class NewConnection(asyncio.Protocol):
    """Hands the connection over to `protocol` with the first bytes; until then it may take `head_timeout` seconds."""

    __slots__ = ("_app_state", "_config", "_server_state", "_transport")

    protocol: ClassVar[type[GatewayProtocol]] = GatewayProtocol
    _silent: ClassVar[WeakKeyDictionary[ServerState, "_Silent"]] = WeakKeyDictionary()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config, self._server_state, self._app_state = config, server_state, app_state
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first bytes. One connection too many is handed over at once, to be refused."""
        self._transport = transport
        connections = self._server_state.connections
        if len(connections) >= self.protocol.max_connections:
            self._hand_over()
            return
        connections.add(self)  # type: ignore[arg-type]
        self._own_silent().add(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes: a request begins."""
        self._forget()
        self._hand_over().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left, or said nothing for too long."""
        self._forget()

    def shutdown(self) -> None:
        """What uvicorn calls when the server stops."""
        self._transport.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _hand_over(self) -> GatewayProtocol:
        following = self.protocol(self._config, self._server_state, self._app_state, asyncio.get_running_loop())
        self._transport.set_protocol(following)
        following.connection_made(self._transport)
        return following

    def _forget(self) -> None:
        self._server_state.connections.discard(self)
        self._own_silent().remove(self)

    def _own_silent(self) -> "_Silent":
        found = self._silent.get(self._server_state)
        if found is None:
            found = self._silent[self._server_state] = _Silent(self.protocol.head_timeout)
        return found


class _Silent:
    """The connections of a server that have sent nothing, oldest first; each is closed when its time is over.

    One timer serves all of them.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._due: dict[NewConnection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: NewConnection) -> None:
        loop = asyncio.get_running_loop()
        self._due[connection] = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._close_due)

    def remove(self, connection: NewConnection) -> None:
        self._due.pop(connection, None)

    def _close_due(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        for connection, due in list(islice(self._due.items(), CLOSED_AT_ONCE)):
            if due > loop.time():
                break
            del self._due[connection]
            connection.close()
        if self._due:
            self._timer = loop.call_at(next(iter(self._due.values())), self._close_due)
