"""Turns: long computing on the event loop in pieces, with everything else in between."""

import asyncio
from collections import deque
from collections.abc import Hashable
from time import thread_time
from typing import Final

from core.cached_properties import CachedProperty

MOST: Final = 0.005  # seconds that one round of the event loop computes before the next piece waits for a later round


class Turns:
    """Whoever is about to compute for long awaits `take` first. One for an event loop.

    The callers who wait have their turns one after the other, so that many pieces of one do not delay one of another.
    """

    def __init__(self) -> None:
        self._round_began: float | None = None
        self._waiting: dict[Hashable, deque[object]] = {}  # by caller; the callers are in the order of their turns

    async def take(self, caller: Hashable) -> None:
        """Return at once, or, if this round of the event loop has computed enough, in a later one."""
        if not self._waiting and self._has_room():
            return
        piece = object()
        self._waiting.setdefault(caller, deque()).append(piece)
        try:
            while not (self._is_next(caller, piece) and self._has_room()):  # noqa: ASYNC110 - the loop sends no signal
                await asyncio.sleep(0)
        finally:
            self._leave(caller, piece)

    def _is_next(self, caller: Hashable, piece: object) -> bool:
        return next(iter(self._waiting)) == caller and self._waiting[caller][0] is piece

    def _leave(self, caller: Hashable, piece: object) -> None:
        pieces = self._waiting.pop(caller)
        pieces.remove(piece)
        if pieces:
            self._waiting[caller] = pieces  # behind the other callers

    def _has_room(self) -> bool:
        now = thread_time()
        if self._round_began is None:
            self._round_began = now
            asyncio.get_running_loop().call_soon(self._end_round)
        return now - self._round_began < MOST

    def _end_round(self) -> None:
        self._round_began = None


class OneAtATime:
    """The turns of one request: only one of its pieces waits among those of other requests. `async with` takes a turn.

    So a request with many pieces does not make one with few wait for all of them.
    """

    def __init__(self, turns: Turns, caller: Hashable) -> None:
        self._turns, self._caller = turns, caller

    @CachedProperty
    def _line(self) -> asyncio.Lock:
        return asyncio.Lock()  # made when it is used: most requests compute nothing for long

    async def __aenter__(self) -> None:
        await self._line.acquire()
        try:
            await self._turns.take(self._caller)
        except BaseException:
            self._line.release()
            raise

    async def __aexit__(self, *raised: object) -> None:
        self._line.release()
