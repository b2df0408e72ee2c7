"""Looks at something in Postgres again when the last look is old, and never keeps a caller waiting for long."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import asyncpg
import structlog

log = structlog.get_logger()

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
        self._looking: asyncio.Task[None] | None = None
        self.seen = NEVER

    async def refresh(self) -> None:
        """Look again if it is time to."""
        if monotonic() - self._tried < self._every:
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._run())
        looking = self._looking
        # Not wait_for: cancelling a statement waits for a server that may not answer. The first look has no other.
        await asyncio.wait({looking}, timeout=PATIENCE if self.seen > NEVER else None)
        self._tried = monotonic()
        if looking.done():
            looking.result()  # a bug is not an outage

    async def close(self) -> None:
        """Give up the look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking}, timeout=PATIENCE)

    async def _run(self) -> None:
        began = monotonic()
        try:
            await self._look()
            self.seen = began
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("look_failed", what=self._what, error=type(error).__name__)
        finally:
            self._looking = None
