"""POST /events, /items, /users: many elements as JSON lines or a JSON array, with the mutations' checks and results."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.errors import REFUSALS, RequestRefused, refusal_answer, refusal_of
from api.gateway import Gateway
from api.http.endpoint import (
    Header,
    MethodRefused,
    read_headers,
    receive_body,
    refusal_headers,
    send_answer,
)
from api.limits.limits import admit, meter_of
from api.routes.callers import require_scope
from api.routes.elements import Element, read_elements, unpack
from core.errors import StoreUnavailable
from engine.catalogue.upserts import store_items, store_users
from engine.outcomes import Outcome, Result
from engine.viewer import Viewer

_KIND = b"application/json; charset=utf-8"
MAX_PARAMETERS = 50  # of one query string

StoreElements = Callable[[Gateway, Viewer, Sequence[Element]], Awaitable[list[Result]]]


@dataclass(frozen=True, slots=True)
class BulkEndpoint:
    """An ASGI app for one path: `store` checks and stores the elements. The token needs `scope`."""

    scope: str
    store: StoreElements
    max_body: int  # bytes, as sent and decompressed
    timeout: float  # seconds that `store` may take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one upload, or refuse it."""
        try:
            status, answer, extra = 200, await self._answer(scope, receive), list[Header]()
        except REFUSALS as error:
            refusal = refusal_of(error)
            status, extra = refusal.status, refusal_headers(refusal)
            answer = refusal_answer(refusal)
        if status == 415:
            extra.append((b"accept-encoding", b"gzip"))
        await send_answer(send, status, _KIND, orjson.dumps(answer), extra)

    async def _answer(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        if scope["method"] != "POST":
            raise MethodRefused("POST", "Use POST.")
        viewer = await admit(scope)
        require_scope(viewer, self.scope)
        only = _read_only(scope["query_string"])
        gateway: Gateway = scope["state"]["gateway"]
        packed = await receive_body(receive)
        await gateway.turns.take(viewer.caller)
        kind, body = unpack(read_headers(scope), packed, self.max_body)
        async with gateway.heavy_bodies.place(body, viewer.caller, gateway.turns):
            elements = read_elements(kind, body)
            await meter_of(scope).take(max(1, len(elements)))
            return _answer_of(await self._store(gateway, viewer, elements), only)

    async def _store(self, gateway: Gateway, viewer: Viewer, elements: Sequence[Element | Result]) -> list[Result]:
        """The result of each element. An element that could not be read is a result already."""
        indexes = [index for index, element in enumerate(elements) if not isinstance(element, Result)]
        readable = [element for element in elements if not isinstance(element, Result)]
        try:
            async with asyncio.timeout(self.timeout) as limit:
                results = await self.store(gateway, viewer, readable) if readable else []
        except (StoreUnavailable, TimeoutError):
            if limit.expired():
                raise RequestRefused("TIMEOUT", f"No answer within {self.timeout:g} seconds.", 504) from None
            raise RequestRefused("SERVICE_UNAVAILABLE", "A store does not answer: send this again.", 503) from None
        stored = {index: replace(result, index=index) for index, result in zip(indexes, results, strict=True)}
        return [element if isinstance(element, Result) else stored[at] for at, element in enumerate(elements)]


def _read_only(query_string: bytes) -> frozenset[str] | None:
    """The outcomes in `?only=A,B`; None without it. Raises RequestRefused for an unknown outcome."""
    try:
        parameters = parse_qsl(query_string.decode("latin-1"), separator="&", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise RequestRefused("BAD_REQUEST", f"A URL may have at most {MAX_PARAMETERS} parameters.", 400) from None
    named = [text for name, text in parameters if name == "only"]
    only = frozenset(name for text in named for name in text.split(","))
    if not only <= set(Outcome):
        raise RequestRefused("BAD_REQUEST", f"only takes these outcomes: {', '.join(Outcome)}.", 400)
    return only if named else None


def _answer_of(results: Sequence[Result], only: frozenset[str] | None) -> dict[str, Any]:
    outcomes = [result.outcome for result in results]
    return {
        "accepted": outcomes.count(Outcome.ACCEPTED),
        "rejected": outcomes.count(Outcome.REJECTED) + outcomes.count(Outcome.CONFLICT),
        "duplicate": outcomes.count(Outcome.DUPLICATE),
        "conflict": outcomes.count(Outcome.CONFLICT),
        "retry": outcomes.count(Outcome.RETRY),
        "results": [result for result in results if only is None or result.outcome in only],
    }


async def _store_events(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await gateway.ingest.track(viewer, raws)


async def _store_items(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await store_items(gateway.shares.bulk, gateway.catalogue, raws)


async def _store_users(gateway: Gateway, viewer: Viewer, raws: Sequence[Element]) -> list[Result]:
    return await store_users(gateway.shares.bulk, raws)


def routes(max_body: int, timeout: float) -> list[Route]:
    """The three routes, with the limits of `BulkEndpoint`."""
    return [
        Route("/events", BulkEndpoint("events:write", _store_events, max_body, timeout)),
        Route("/items", BulkEndpoint("catalog:write", _store_items, max_body, timeout)),
        Route("/users", BulkEndpoint("profiles:write", _store_users, max_body, timeout)),
    ]
