"""/graphql as a WebSocket: checks who may connect, then hands the connection to `Session`."""

from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import orjson
from starlette.types import Receive, Scope, Send

from api.errors import RequestRefused, refusal_answer
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.subscriptions.messages import PROTOCOL, Close
from api.graphql.subscriptions.session import Session
from api.http.addresses import caller_of
from api.http.endpoint import read_headers, refusal_headers
from api.http.streaming.streams import Streams
from api.limits.limits import meter_of_address


class WebSocketEndpoint:
    """An ASGI app for one path. `scope["state"]` is as for `GraphQLEndpoint`, which answers the operations."""

    def __init__(self, endpoint: GraphQLEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the operations of one connection until it closes; or refuse it, with an HTTP answer."""
        streams: Streams = scope["state"]["streams"]
        try:
            await _check_origin(scope)
            await meter_of_address(scope).take(1)  # until it names a client, the address pays
            with streams.websockets.place(), ExitStack() as beginning:
                beginning.enter_context(streams.beginning(caller_of(scope)))
                await self._accept(scope, receive, send, beginning.close)
        except RequestRefused as refusal:
            await _refuse(send, refusal)

    async def _accept(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], None]) -> None:
        await receive()  # the handshake
        if PROTOCOL not in scope["subprotocols"]:
            code, reason = Close.WRONG_PROTOCOL.value
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        await Session(self._endpoint, scope, receive, send, begun).run()


async def _check_origin(scope: Scope) -> None:
    """Raise RequestRefused for a page of another origin than CORS lets in. Programs send no origin."""
    headers = read_headers(scope)
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin or _host(origin) == headers.get(b"host", b"").decode("latin-1"):  # our own page
        return
    if not await scope["state"]["authority"].origins.allowed_origin(origin):
        raise RequestRefused("FORBIDDEN", "No client has registered the origin of this page.", 403)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


async def _refuse(send: Send, refusal: RequestRefused) -> None:
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += refusal_headers(refusal)
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(refusal_answer(refusal))})
