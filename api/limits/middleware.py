"""The middleware of rate limits: says what is left in each answer; addresses pay for the paths without a token."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import RequestRefused, refusal_answer
from api.http.endpoint import refusal_headers, send_answer
from api.http.guard import PROBES
from api.limits.limits import meter_of, meter_of_address

METERED: Final = frozenset(
    {
        "/graphql",
        "/events",
        "/items",
        "/users",
        "/recommendations/batch",
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/introspect",
    }
)
_METERED_BELOW: Final = "/segments/"
_KIND: Final = b"application/json; charset=utf-8"


class RateLimiting:
    """Pure ASGI middleware. The endpoints of `METERED` know who pays; a request to any other path takes one unit.

    A request that was refused before it took anything takes one unit too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it. Probes are not limited."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent, limits = message.get("headers", ()), await _headers(scope)
                message["headers"] = [*sent, *(() if _is_public(sent) else limits)]
            await send(message)

        if scope["path"] not in METERED and not scope["path"].startswith(_METERED_BELOW):
            try:
                await meter_of_address(scope).take(1)
            except RequestRefused as refusal:
                body = orjson.dumps(refusal_answer(refusal))
                await send_answer(send_with_limits, refusal.status, _KIND, body, refusal_headers(refusal))
                return
        await self._app(scope, receive, send_with_limits)


def _is_public(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether caches may give the answer to other callers: it must not say what is left of this one's limits."""
    return any(name == b"cache-control" and value.startswith(b"public") for name, value in headers)


async def _headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    meter = meter_of(scope)
    if not meter.used:
        with suppress(RequestRefused):  # the request is being refused already
            await meter.take(1)
    return meter.headers()
