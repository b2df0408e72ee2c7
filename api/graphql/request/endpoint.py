"""The /graphql endpoint: an ASGI app that answers GraphQL over HTTP with our own executor."""

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send
from strawberry import Schema

from api.errors import REFUSALS, refusal_of
from api.gateway import Gateway
from api.graphql.graphiql.page import send_page
from api.graphql.request.answering import Answered, Asked, Operations
from api.graphql.request.answers.encoding import answer_to_refusal, encode
from api.graphql.request.answers.events import send_events
from api.graphql.request.answers.public import Keeping
from api.graphql.request.answers.tokenless import TokenlessClient, check_tokenless
from api.graphql.request.reading import (
    JSON,
    RESPONSE_JSON,
    accepts_events,
    accepts_html,
    choose_media_type,
    not_acceptable,
    read_body,
    read_query_string,
)
from api.graphql.request.subscribing import Stream
from api.http.disconnects import Disconnected
from api.http.endpoint import Headers, MethodRefused, read_headers, receive_body, send_answer, send_unchanged
from api.http.json_body import may_be_heavy
from api.http.request_metrics import summary_of
from api.limits.limits import admit
from engine.viewer import Viewer

_CONTENT_TYPES: Final = {kind: f"{kind or JSON}; charset=utf-8".encode() for kind in (JSON, RESPONSE_JSON, None)}


class Accepts(NamedTuple):
    """What a caller can read: one JSON answer, a stream of events."""

    json: bool
    events: bool


_NO_ACCEPT: Final = JSON, Accepts(True, False)


class GraphQLEndpoint:
    """An ASGI app for one path. `scope["state"]` must have `gateway` and `verifier`, see `api.app.LifespanState`.

    Without `documents` there are no persisted documents; without `tokenless` every request needs a token.
    """

    def __init__(self, schema: Schema, *, graphiql: bool, timeout: float) -> None:
        self.operations = Operations(schema._schema, timeout)
        self._graphiql = graphiql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered too."""
        headers, state = read_headers(scope), scope["state"]
        by_post = scope["method"] == "POST"
        if not by_post and self._shows_page(scope, headers):
            await send_page(send)
            return
        kind, state["accepts"] = _NO_ACCEPT if b"accept" not in headers else _accepted(headers)
        request_id = state.get("request_id", "")
        try:
            viewer = await (admit(scope) if by_post else _admit_other(scope, headers))
            sent = await receive_body(receive) if by_post else None
            answered = await self._answering(scope, receive, headers, sent, viewer)
            if isinstance(answered, Stream):
                await send_events(scope, receive, send, viewer, answered)
                return
            status, answer, extra = answered
        except REFUSALS as error:
            status, answer, extra = answer_to_refusal(refusal_of(error), kind, request_id)
        except Disconnected:
            return
        if "errors" in answer:
            summary_of(scope).set_errors(answer)
        content_type, body = _CONTENT_TYPES[kind], encode(answer, request_id)
        keeping: Keeping | None = state.get("keeping")
        if keeping is None or not keeping.allows(status, answer, body):
            await send_answer(send, status, content_type, body, extra)
            return
        await _send_public(send, headers, content_type, body, keeping)

    def _shows_page(self, scope: Scope, headers: Headers) -> bool:
        """Whether a browser asks for the page."""
        return self._graphiql and scope["method"] == "GET" and not scope["query_string"] and accepts_html(headers)

    def _answering(
        self, scope: Scope, receive: Receive, headers: Headers, body: bytes | None, viewer: Viewer
    ) -> Awaitable[Answered]:
        """The answer to an operation in a body, or in the URL. Raises RequestRefused, also when it takes too long."""
        if scope["state"]["accepts"] == (False, False):
            raise not_acceptable()
        if body is None:
            request = read_query_string(scope["query_string"])
            check_tokenless(viewer, request.query is None)
        elif may_be_heavy(body):
            return self._answer_heavy(scope, receive, headers, body, viewer)
        else:
            request = read_body(headers, body)
        return self.operations.answer(Asked(scope, receive, request, viewer))

    async def _answer_heavy(
        self, scope: Scope, receive: Receive, headers: Headers, body: bytes, viewer: Viewer
    ) -> Answered:
        """Answer a body that takes long to read, when it has a place."""
        gateway: Gateway = scope["state"]["gateway"]
        async with AsyncExitStack() as place:
            await place.enter_async_context(gateway.heavy_bodies.place(body, viewer.caller, gateway.turns))
            return await self.operations.answer(Asked(scope, receive, read_body(headers, body), viewer, place))


async def _send_public(send: Send, headers: Headers, content_type: bytes, body: bytes, keeping: Keeping) -> None:
    """Send an answer that everybody may keep, to a caller who may have it already."""
    kept = keeping.headers(content_type, body)
    if kept.are_those_of(headers):
        await send_unchanged(send, kept)
    else:
        await send_answer(send, 200, content_type, body, kept)


async def _admit_other(scope: Scope, headers: Headers) -> Viewer:
    """The viewer of a request that is no POST. A caller without a valid token learns nothing about the rest of it."""
    if scope["method"] != "GET":
        raise MethodRefused("GET, POST", "Use POST; GET is for queries only.")
    tokenless: TokenlessClient | None = scope["state"].get("tokenless")
    if tokenless is not None and b"authorization" not in headers:
        return await tokenless.admit(scope)
    return await admit(scope)


def _accepted(headers: Headers) -> tuple[str | None, Accepts]:
    """The media type of one JSON answer, None for a caller who cannot read it; and all that the caller can read."""
    kind = choose_media_type(headers)
    return kind, Accepts(kind is not None, accepts_events(headers))
