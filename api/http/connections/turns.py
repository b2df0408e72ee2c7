"""Turns: how many requests may start in one iteration of the event loop, so that a crowd does not slow down the others.

A request needs several iterations: to be read, to wait for Redis, to be answered. An iteration that starts hundreds of
requests takes as long as all of them, and every request beside them waits for several such iterations.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum

MAX_WAITING = 1000  # requests of a lane

Start = Callable[[], bool]  # starts a request; False when its caller has left


class Lane(Enum):
    """A kind of request. Its value is how many of them may start in one iteration."""

    PROBE = 2, "health and metrics"
    OAUTH = 3, "tokens"
    FOLLOWED = 1, "any path, with more bytes behind it: browsers and proxies wait for an answer first"
    OTHER = 8, "all other paths"


class LaneFull(Exception):
    """As many requests as may wait for their turn wait already."""


class Turns:
    """Starts the requests of all connections of a server. Each caller of a lane has its turn, whoever came first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues = {lane: _Queue(lane.value[0]) for lane in Lane}
        self._scheduled = False

    def start(self, lane: Lane, caller: Hashable, start: Start) -> None:
        """Call `start` in a later iteration, when it is this caller's turn. Raises LaneFull."""
        self._queues[lane].add(caller, start)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled, waiting = False, 0
        for queue in self._queues.values():
            if queue.waiting:
                queue.start()
                waiting += queue.waiting
        if waiting:
            self._schedule()


class _Queue:
    """The requests of one lane that wait, by caller; the callers are in the order of their turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._callers: dict[Hashable, deque[Start]] = {}
        self.waiting = 0

    def add(self, caller: Hashable, start: Start) -> None:
        if self.waiting >= MAX_WAITING:
            raise LaneFull
        self._callers.setdefault(caller, deque()).append(start)
        self.waiting += 1

    def start(self) -> None:
        """Start as many as may start in one iteration."""
        left = self._most
        while left and self.waiting:
            left -= self._next()()

    def _next(self) -> Start:
        caller = next(iter(self._callers))
        starts = self._callers.pop(caller)
        start = starts.popleft()
        if starts:
            self._callers[caller] = starts  # behind the other callers
        self.waiting -= 1
        return start
