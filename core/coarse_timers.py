"""Timers for blocks that mostly end long before: one timer of the event loop for all of its blocks."""

import asyncio
from threading import local
from time import monotonic
from types import TracebackType
from typing import Final, Self

TICK: Final = 0.02  # seconds; a block is acted on so much later at most


class TimedBlock:
    """A block of one task. While it still runs so many seconds after its beginning, `act` is called once."""

    __slots__ = ("_task", "due")
    _task: "asyncio.Task[object]"

    def __init__(self, seconds: float) -> None:
        self.due = seconds  # on the monotonic clock, once it runs

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        current = asyncio.current_task(loop)
        assert current is not None
        self._task = current
        self.due += monotonic()
        if loop is not _timers.loop:
            _timers.begin(loop)
        _timers.blocks[self] = None
        return self

    def enter_inside(self, outer: "TimedBlock") -> Self:
        """Begin inside a block of the same task, which has found the task and begun the timer."""
        self._task = outer._task
        self.due += monotonic()
        _timers.blocks[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _timers.blocks.pop(self, None)

    def act(self) -> None:
        """Do what is due."""
        raise NotImplementedError


class Deadline(TimedBlock):
    """Cancels the block after so many seconds, and raises TimeoutError. As `asyncio.timeout`, which costs a timer."""

    __slots__ = ("_passed",)

    def __init__(self, seconds: float) -> None:
        self.due, self._passed = seconds, False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _timers.blocks.pop(self, None)
        if self._passed and not self._task.uncancel() and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def act(self) -> None:
        """Cancel the block."""
        self._passed = True
        self._task.cancel()


class _Timers(local):
    """The blocks of the event loop that runs in this thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  # whose timer runs
        self.blocks: dict[TimedBlock, None] = {}

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.blocks = loop, {}
        loop.call_later(TICK, self.tick, loop)

    def tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = monotonic()
        for block in [block for block in self.blocks if block.due <= now]:
            self.blocks.pop(block, None)
            try:
                block.act()
            except Exception as error:  # the other blocks still need this timer
                loop.call_exception_handler({"message": "A block could not act in time.", "exception": error})
        if self.blocks:
            loop.call_later(TICK, self.tick, loop)
        else:
            self.loop = None


_timers = _Timers()
