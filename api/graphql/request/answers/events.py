"""Sends the answers of a subscription as an event stream."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.types import Receive, Scope, Send

from api.graphql.request.answers.encoding import encode
from api.graphql.request.subscribing import Stream
from api.http.streaming.event_stream import event, send_event_stream
from api.http.streaming.streams import Streams
from engine.viewer import Viewer


async def send_events(scope: Scope, receive: Receive, send: Send, viewer: Viewer, stream: Stream) -> None:
    """Send a subscription's answers as events, until the token ends: then the stream ends without `complete`."""
    streams: Streams = scope["state"]["streams"]
    async with aclosing(stream.answers) as answers:
        with streams.event_streams.place(), streams.of_caller(viewer.caller):
            ends = streams.end_of(scope["state"]["verifier"], scope["headers"], viewer)
            await send_event_stream(receive, send, _events(answers, scope["state"].get("request_id", "")), ends)


async def _events(answers: AsyncIterator[dict[str, Any]], request_id: str) -> AsyncIterator[bytes]:
    async for answer in answers:
        yield event("next", encode(answer, request_id))
    yield event("complete")
