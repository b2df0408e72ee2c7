"""Ends the work for a caller who closes the connection before the answer."""

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

from starlette.types import Receive

WATCH_AFTER = 0.05  # seconds; most answers are sent before, and cost nothing more


class Disconnected(Exception):
    """The caller closed the connection: there is nobody to answer."""


def while_connected(receive: Receive) -> AbstractContextManager[None]:
    """Cancel the block when the caller closes the connection, and raise Disconnected. The body was received before."""
    return _Watched(receive)


class _Watched:
    """The block of `while_connected`."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._gone = receive, False
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        current = asyncio.current_task()
        assert current is not None
        self._task = current
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError) and self._gone and not self._task.uncancel():
            raise Disconnected from None

    def _start(self) -> None:
        self._watching = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        self._task.cancel()
