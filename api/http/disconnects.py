"""Ends the work for a caller who closes the connection before the answer."""

import asyncio
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive

from core.coarse_timers import TimedBlock

WATCH_AFTER: Final = 0.05  # seconds; most answers are sent before, and cost nothing more


class Disconnected(Exception):
    """The caller closed the connection: there is nobody to answer."""


class while_connected(TimedBlock):  # noqa: N801 - it is used as a function
    """Cancel the block when the caller closes the connection, and raise Disconnected. The body was received before.

    `inside` is a timed block of the same task around it, if there is one.
    """

    __slots__ = ("_gone", "_inside", "_receive", "_watching")

    def __init__(self, receive: Receive, inside: TimedBlock | None = None) -> None:
        self.due, self._receive, self._inside, self._gone = WATCH_AFTER, receive, inside, False
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return super().__enter__() if self._inside is None else self.enter_inside(self._inside)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._watching is not None:
            self._watching.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError) and self._gone and not self._task.uncancel():
            raise Disconnected from None

    def act(self) -> None:
        """Begin to watch the connection."""
        self._watching = self._task.get_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        self._task.cancel()
