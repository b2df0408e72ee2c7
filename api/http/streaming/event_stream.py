"""Server-sent events (`text/event-stream`): lines end in LF, and a comment now and then shows that the stream lives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final

from starlette.types import Receive, Send

from api.http.disconnects import Disconnected, while_connected
from core.tasks import end

HEARTBEAT: Final = 12.0  # seconds
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
]
_COMMENT: Final = b":\n\n"


def event(name: str, data: bytes = b"") -> bytes:
    """One event. `data` has no line ends, as JSON that is written without spaces."""
    return b"event: %b\ndata:%b\n\n" % (name.encode("ascii"), b" " + data if data else b"")


async def send_event_stream(
    receive: Receive, send: Send, events: AsyncIterator[bytes], ends: Coroutine[Any, Any, None]
) -> None:
    """Send the events until there are no more, the caller leaves, or `ends` returns."""
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    with suppress(Disconnected):
        with while_connected(receive):
            async with aclosing(_with_heartbeat(events, ends)) as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _with_heartbeat(events: AsyncIterator[bytes], ends: Coroutine[Any, Any, None]) -> AsyncGenerator[bytes, None]:
    """A comment at once, then the events, and a comment wherever none comes for `HEARTBEAT` seconds."""
    ended = asyncio.create_task(ends)
    waiting: asyncio.Task[bytes | None] | None = None
    try:
        yield _COMMENT
        while not ended.done():
            waiting = waiting or asyncio.create_task(_next(events))
            await asyncio.wait({waiting, ended}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                yield _COMMENT
                continue
            part, waiting = waiting.result(), None
            if part is None:
                return
            yield part
    finally:
        await end([ended] if waiting is None else [ended, waiting])


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)
