"""Ends the work for a caller who closes the connection before the answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

WATCH_AFTER = 0.05  # seconds; most answers are sent before, and cost nothing more


class Disconnected(Exception):
    """The caller closed the connection: there is nobody to answer."""


@contextmanager
def while_connected(receive: Receive) -> Iterator[None]:
    """Cancel the block when the caller closes the connection, and raise Disconnected. The body was received before."""
    watch = _Watch(receive)
    try:
        yield
    except asyncio.CancelledError:
        if watch.gone and not watch.task.uncancel():
            raise Disconnected from None
        raise
    finally:
        watch.stop()


class _Watch:
    """Cancels the task that made it when the caller closes the connection."""

    def __init__(self, receive: Receive) -> None:
        current = asyncio.current_task()
        assert current is not None
        self.task, self.gone = current, False
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start)

    def stop(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _start(self) -> None:
        self._watching = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self.gone = True
        self.task.cancel()
