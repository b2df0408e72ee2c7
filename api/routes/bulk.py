"""POST /events, /items, /users: many elements as JSON lines or an array, judged and answered as the mutations do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.errors import REFUSALS, RequestRefused, refusal_of
from api.gateway import Gateway
from api.http.endpoint import (
    Header,
    MethodRefused,
    TokenRefused,
    headers_of,
    read_headers,
    send_answer,
    viewer_of,
    whole_body,
)
from api.http.gzip_body import inflate
from core.errors import StoreUnavailable
from engine.catalogue.upserts import store_items, store_users
from engine.outcomes import Outcome, Result, check_count
from engine.viewer import Viewer

JSON = "application/json"
LINES = ("application/x-ndjson", "application/jsonl", "application/ndjson", "application/x-jsonlines")
_KIND = b"application/json; charset=utf-8"
_BOM = b"\xef\xbb\xbf"

Element = Mapping[str, Any]
Take = Callable[[Gateway, Viewer, Sequence[Element]], Awaitable[list[Result]]]


@dataclass(frozen=True, slots=True)
class Bulk:
    """An ASGI app for one path: `take` judges and keeps the elements, for tokens with the scope."""

    scope: str
    take: Take
    max_body: int  # bytes, sent and inflated
    timeout: float  # seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one upload; every refusal is an answer."""
        try:
            status, answer, extra = 200, await self._answer(scope, receive), list[Header]()
        except REFUSALS as error:
            refusal = refusal_of(error)
            status, extra = refusal.status, headers_of(refusal)
            answer = {"errors": [{"message": str(refusal), "extensions": {"code": refusal.code}}]}
        if status == 415:
            extra.append((b"accept-encoding", b"gzip"))
        await send_answer(send, status, _KIND, orjson.dumps(answer), extra)

    async def _answer(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        if scope["method"] != "POST":
            raise MethodRefused("POST", "Use POST.")
        viewer = await viewer_of(scope["state"]["verifier"], scope["headers"])
        self._check(viewer)
        only = _wanted(scope["query_string"])
        elements = read_elements(read_headers(scope), await whole_body(receive), self.max_body)
        return _told(await self._taken(scope["state"]["gateway"], viewer, elements), only)

    def _check(self, viewer: Viewer) -> None:
        if self.scope not in viewer.scopes:
            detail = f', error="insufficient_scope", scope="{self.scope}"'.encode()
            raise TokenRefused(detail, f"This needs the scope {self.scope}.", code="FORBIDDEN", status=403)

    async def _taken(self, gateway: Gateway, viewer: Viewer, elements: Sequence[Element | Result]) -> list[Result]:
        """The result of each element; those that could not be read have theirs already."""
        readable = [index for index, element in enumerate(elements) if not isinstance(element, Result)]
        good = [element for element in elements if not isinstance(element, Result)]
        try:
            async with asyncio.timeout(self.timeout) as limit:
                told = await self.take(gateway, viewer, good) if good else []
        except (StoreUnavailable, TimeoutError):
            if limit.expired():
                raise RequestRefused("TIMEOUT", f"No answer within {self.timeout:g} seconds.", 504) from None
            raise RequestRefused("SERVICE_UNAVAILABLE", "A store does not answer: send this again.", 503) from None
        placed = {index: replace(result, index=index) for index, result in zip(readable, told, strict=True)}
        return [element if isinstance(element, Result) else placed[at] for at, element in enumerate(elements)]


def read_elements(headers: Mapping[bytes, bytes], body: bytes, max_body: int) -> list[Element | Result]:
    """The objects of a body, and a REJECTED result in place of each that is none.

    Raises RequestRefused: 415 for another media type or encoding, 413 when there are too many bytes or elements, 400
    for what is no array.
    """
    kind = _media_type(headers)
    body = _decoded(headers, body, max_body).removeprefix(_BOM)
    return _of_array(body) if kind == JSON else _of_lines(body)


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    kind, _, rest = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    kind = kind.strip().lower()
    if kind not in (JSON, *LINES) or charset not in ("", "utf-8", "utf8"):
        wanted = f"{LINES[0]} (an object per line) or {JSON} (an array of objects), in UTF-8"
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", f"The body must be {wanted}.", 415)
    return kind


def _decoded(headers: Mapping[bytes, bytes], body: bytes, max_body: int) -> bytes:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body may be encoded by gzip, or not at all.", 415)
    return inflate(body, max_body)


def _of_array(body: bytes) -> list[Element | Result]:
    try:
        elements = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused("BAD_REQUEST", f"The body is not JSON: {error}.", 400) from None
    if not isinstance(elements, list):
        raise RequestRefused("BAD_REQUEST", "The body must be an array; JSON lines are application/x-ndjson.", 400)
    check_count(len(elements))
    return [
        element if isinstance(element, dict) else _rejected(index, "It is not an object.")
        for index, element in enumerate(elements)
    ]


def _of_lines(body: bytes) -> list[Element | Result]:
    """One element per line that is not blank."""
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    check_count(len(lines))
    return [_of_line(index, number, line) for index, (number, line) in enumerate(lines)]


def _of_line(index: int, number: int, line: bytes) -> Element | Result:
    try:
        element = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _rejected(index, f"Line {number} is not JSON: {error}.")
    return element if isinstance(element, dict) else _rejected(index, f"Line {number} is not an object.")


def _rejected(index: int, message: str) -> Result:
    return Result(index, Outcome.REJECTED, None, "BAD_REQUEST", None, message)


def _wanted(query_string: bytes) -> frozenset[str] | None:
    """The outcomes named by `?only=A,B`; None without it. Raises RequestRefused for a name that is none."""
    asked = parse_qsl(query_string.decode("latin-1"), separator="&")
    named = [text for name, text in asked if name == "only"]
    only = frozenset(name for text in named for name in text.split(","))
    if not only <= set(Outcome):
        raise RequestRefused("BAD_REQUEST", f"only may name {', '.join(Outcome)}.", 400)
    return only if named else None


def _told(results: Sequence[Result], only: frozenset[str] | None) -> dict[str, Any]:
    outcomes = [result.outcome for result in results]
    return {
        "accepted": outcomes.count(Outcome.ACCEPTED),
        "rejected": outcomes.count(Outcome.REJECTED) + outcomes.count(Outcome.CONFLICT),
        "results": [result for result in results if only is None or result.outcome in only],
    }


async def _take_events(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await gateway.ingest.track(viewer, raws)


async def _take_items(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await store_items(gateway.pool, gateway.catalogue, raws)


async def _take_users(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await store_users(gateway.pool, raws)


def routes(max_body: int, timeout: float) -> list[Route]:
    """The three paths; limits as `Bulk` has them."""
    return [
        Route("/events", Bulk("events:write", _take_events, max_body, timeout)),
        Route("/items", Bulk("catalog:write", _take_items, max_body, timeout)),
        Route("/users", Bulk("profiles:write", _take_users, max_body, timeout)),
    ]
