"""The port of the probes: /healthz, /readyz and /metrics, and nothing else, on a port that callers do not reach."""

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import error_answer
from api.http.endpoint import send_answer
from api.http.guard import PROBES

HEALTH = "/healthz"  # on both ports: a load balancer asks the port that it sends requests to


class ProbePort:
    """Pure ASGI middleware: answers 404 for a probe on another port than `port`, and for anything else on `port`."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when its port answers its path."""
        server = scope.get("server")  # the address of our own socket, never a header
        at_probe_port = server is not None and server[1] == self._port
        if scope["type"] == "websocket" and at_probe_port:
            await send({"type": "websocket.close"})
            return
        if scope["type"] == "http" and scope["path"] != HEALTH and at_probe_port != (scope["path"] in PROBES):
            body = orjson.dumps(error_answer("NOT_FOUND", "Not Found"))
            await send_answer(send, 404, b"application/json", body, [])
            return
        await self._app(scope, receive, send)
