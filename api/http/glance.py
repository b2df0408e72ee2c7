"""Looks at something in Postgres again when the last look is old, and never keeps a caller waiting for long."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from core.errors import StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable

PATIENCE = 0.5  # seconds a caller waits for a look; after that the last one has to do
NEVER = float("-inf")


class Glance:
    """Runs `look` at most every `every` seconds, when somebody asks, for all who ask at once together.

    `seen` is when the last look that succeeded began, on the monotonic clock. A look that fails or takes too long is
    logged and changes nothing: callers go on with what they saw before, and decide by `seen` for how long.
    """

    def __init__(self, what: str, look: Callable[[], Awaitable[None]], *, every: float) -> None:
        self._what = what
        self._look = look
        self._every = every
        self._tried = NEVER
        self._looking = SingleFlight(self._run)
        self.seen = NEVER

    async def refresh(self) -> None:
        """Look again if it is time to."""
        if monotonic() - self._tried < self._every:
            return
        # The look goes on after that: cancelling a statement waits for a server that may not answer. The first look
        # has no other to go on with.
        try:
            await self._looking.result_within(None, PATIENCE if self.seen > NEVER else None)
        finally:
            self._tried = monotonic()

    async def close(self) -> None:
        """Give up the look that is under way."""
        if looking := self._looking.cancel():
            await asyncio.wait(looking, timeout=PATIENCE)

    async def _run(self, _: None) -> None:
        began = monotonic()
        try:
            await self._look()
            self.seen = began
        except StoreUnavailable as error:
            log_unavailable(error, doing=f"read {self._what}")
