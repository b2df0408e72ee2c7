"""CORS: web pages of registered clients may call the API, from the origins of the client, without credentials."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.oauth_changes import Copy, OAuthChanges
from api.http.refresher import Refresher
from db.clients import allowed_origins
from db.postgres import Connection

PATHS = frozenset({"/graphql", "/events", "/items", "/users", "/oauth/token", "/oauth/revoke"})
EXPOSED = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
MAX_AGE = "600"  # seconds a browser may remember a preflight
POLL = 3.0  # seconds between two looks at whether clients have changed
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*", re.ASCII)


class Origins:
    """The origins of all enabled clients, read from Postgres when clients have changed."""

    def __init__(self, pool: Connection, changes: OAuthChanges, *, poll: float = POLL) -> None:
        self._pool, self._changes = pool, changes
        self._copy = Copy(changes, ("clients",), self._read_origins)
        self._allowed: frozenset[str] = frozenset()
        self._refresher = Refresher("origins", self._read, every=poll)

    async def allowed_origin(self, origin: str) -> bool:
        """Whether an enabled client registered this origin. While Postgres is away, as of the last read."""
        await self._refresher.refresh()
        return origin in self._allowed

    async def close(self) -> None:
        """Stop reading."""
        await self._refresher.close()

    async def _read(self) -> None:
        await self._changes.read()
        await self._copy.renew()

    async def _read_origins(self) -> None:
        self._allowed = await allowed_origins(self._pool)


class Cors:
    """Pure ASGI middleware. Its `Origins` are those of the `authority` in the lifespan's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight; pass any other request on, with headers that let a registered origin read the answer."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        origin = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)
        allowed = origin is not None and await scope["state"]["authority"].origins.allowed_origin(origin)
        if origin is not None and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "access-control-request-method" in headers:
                await _answer_preflight(headers, origin if allowed else None, send)
                return
        await self._app(scope, receive, _send_with_cors(send, origin if allowed else None))


def _send_with_cors(send: Send, origin: str | None) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = message.setdefault("headers", [])
            if origin is None and not any(name == b"vary" for name, _ in sent):
                message["headers"] = [*sent, (b"vary", b"Origin")]
            else:
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = EXPOSED
        await send(message)

    return send_with_headers


async def _answer_preflight(request: Headers, origin: str | None, send: Send) -> None:
    headers = MutableHeaders({"Vary": "Origin, Access-Control-Request-Headers", "Content-Length": "0"})
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Methods"] = "GET, POST"
        headers["Access-Control-Max-Age"] = MAX_AGE
        wanted = request.get("access-control-request-headers", "")
        if len(wanted) <= 1024 and _HEADER_NAMES.fullmatch(wanted):
            headers["Access-Control-Allow-Headers"] = wanted
    await send({"type": "http.response.start", "status": 204 if origin else 403, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})
