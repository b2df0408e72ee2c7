"""Turns: long computing on the event loop in pieces, with everything else in between."""

import asyncio
from time import thread_time
from typing import Final

MOST: Final = 0.01  # seconds that one round of the event loop computes before the next piece waits for a later round


class Turns:
    """Whoever is about to compute for long awaits `take` first. One for an event loop."""

    def __init__(self) -> None:
        self._round_began: float | None = None

    async def take(self) -> None:
        """Return at once, or, if this round of the event loop has computed enough, in a later one."""
        while not self._has_room():  # noqa: ASYNC110 - the event loop sends no signal
            await asyncio.sleep(0)

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

    def __init__(self, turns: Turns) -> None:
        self._turns, self._line = turns, asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._line.acquire()
        try:
            await self._turns.take()
        except BaseException:
            self._line.release()
            raise

    async def __aexit__(self, *raised: object) -> None:
        self._line.release()
