"""What the ASGI endpoints share: they read headers, bearer token and body, and send an answer or a refusal."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import RequestRefused
from core.errors import InvalidToken, KeysUnavailable, StoreUnavailable
from engine.viewer import TokenVerifier, Viewer

_NO_STORE = (b"cache-control", b"private, no-store")
_REALM = b'Bearer realm="penchant"'

Header = tuple[bytes, bytes]
Headers = Mapping[bytes, bytes]  # by lower-case name


class MethodRefused(RequestRefused):
    """The path does not answer this HTTP method; `allow` names the methods it answers."""

    def __init__(self, allow: str, message: str) -> None:
        super().__init__("METHOD_NOT_ALLOWED", message, 405)
        self.allow = allow


class TokenRefused(RequestRefused):
    """The bearer token is missing or invalid (401), or lacks a scope (403). `challenge` is for WWW-Authenticate."""

    def __init__(
        self, challenge_parameters: bytes, message: str, *, code: str = "UNAUTHENTICATED", status: int = 401
    ) -> None:
        super().__init__(code, message, status)
        self.challenge = _REALM + challenge_parameters


def bearer_token(headers: Sequence[Header]) -> str | None:
    """The bearer token in raw ASGI headers; None without an Authorization header.

    Raises InvalidToken for another scheme, for two Authorization headers, and for an empty or non-ASCII token.
    """
    sent = dict(headers)
    value = sent.get(b"authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    token = token.strip()
    repeated = len(sent) < len(headers) and [name for name, _ in headers].count(b"authorization") > 1
    if repeated or scheme.lower() != b"bearer" or not token.isascii() or not token:
        raise InvalidToken()
    return token.decode("ascii")


def read_headers(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The request's headers by lower-case name; repeated headers are joined by commas (RFC 9110, section 5.3)."""
    sent: list[Header] = scope["headers"]
    headers = dict(sent)
    if len(headers) == len(sent):
        return headers
    headers.clear()
    for name, value in sent:
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


async def viewer_of(verifier: TokenVerifier, headers: list[Header]) -> Viewer:
    """The viewer that the bearer token in raw ASGI headers names. Cookies are ignored.

    Raises TokenRefused, and RequestRefused (503) while tokens cannot be checked.
    """
    try:
        token = bearer_token(headers)
        if token is None:
            raise TokenRefused(b"", "Send an access token: Authorization: Bearer ...")
        return await verifier.verify(token)
    except InvalidToken as error:
        raise TokenRefused(b', error="invalid_token"', str(error)) from None
    except (StoreUnavailable, KeysUnavailable):
        raise RequestRefused("SERVICE_UNAVAILABLE", "Tokens cannot be checked now: send this again.", 503) from None


async def receive_body(receive: Receive) -> bytes:
    """The whole body. `EdgeGuard` has already limited its size and the time it took."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def refusal_headers(refusal: RequestRefused) -> list[Header]:
    """The headers to send with a refusal."""
    if isinstance(refusal, TokenRefused):
        return [(b"www-authenticate", refusal.challenge)]
    if isinstance(refusal, MethodRefused):
        return [(b"allow", refusal.allow.encode())]
    return [(b"retry-after", str(refusal.retry_after).encode())] if refusal.status in (429, 503) else []


async def send_answer(send: Send, status: int, content_type: bytes, body: bytes, extra: list[Header]) -> None:
    """Send a whole answer. No cache may store it, unless `extra` has another Cache-Control."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), _NO_STORE]
    if extra:
        if any(name == b"cache-control" for name, _ in extra):
            del headers[-1]
        headers += extra
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_unchanged(send: Send, headers: list[Header]) -> None:
    """Tell a caller that what it has kept is still right."""
    await send({"type": "http.response.start", "status": 304, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class Direct:
    """Pure ASGI middleware: gives requests to one path to its endpoint, which answers every failure itself.

    Starlette's router and its handlers of exceptions would cost as much as to verify the token and to take the units.
    """

    def __init__(self, app: ASGIApp, *, path: str, endpoint: ASGIApp) -> None:
        self._app, self._path, self._endpoint = app, path, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        direct = scope["type"] == "http" and scope["path"] == self._path
        await (self._endpoint if direct else self._app)(scope, receive, send)
