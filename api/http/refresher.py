"""Reads something from Postgres again when the last read is old. A slow Postgres delays a caller only briefly."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from core.errors import StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable

log = structlog.get_logger()

READ_TIMEOUT = 0.5  # seconds a caller waits for a read; after that it uses what the read before it found
FIRST_READ_TIMEOUT = 2.0  # the same while no read has succeeded yet: there is nothing else to use
AHEAD = 0.75  # of `every`: from then on a read begins without its caller
CLOSE_TIMEOUT = 0.5  # seconds to wait for a cancelled read
NEVER = float("-inf")


class Refresher:
    """Runs `read` on demand, at most once every `every` seconds; concurrent callers share one read.

    A process that has many callers reads ahead: on a busy loop a read takes several rounds, and nobody waits for them.

    `read` keeps what it finds in its owner. `read_at` is when the last successful read began, on the monotonic clock.
    A read that fails is logged and changes nothing. A read that takes too long goes on without its callers. In both
    cases callers use the older values, and decide by `read_at` for how long.
    """

    def __init__(self, what: str, read: Callable[[], Awaitable[None]], *, every: float) -> None:
        self._what = what
        self._read = read
        self._every = every
        self._tried_at = NEVER
        self._reading = SingleFlight(self._run)
        self.read_at = NEVER

    def is_fresh(self) -> bool:
        """Whether something was read, so lately that `refresh` would neither wait nor begin to read."""
        return self.read_at > NEVER and monotonic() - self._tried_at < self._every * AHEAD

    async def refresh(self) -> None:
        """Read again if the last read is older than `every` seconds; begin to, if it soon will be."""
        age = monotonic() - self._tried_at
        if age < self._every:
            if age >= self._every * AHEAD and self.read_at > NEVER:
                self._reading.start(None)
            return
        # A read that takes too long is not cancelled: cancelling a statement waits for a server that may not answer.
        try:
            await self._reading.result_within(None, READ_TIMEOUT if self.read_at > NEVER else FIRST_READ_TIMEOUT)
        finally:
            self._tried_at = monotonic()

    async def close(self) -> None:
        """Cancel the read that is running."""
        if running := self._reading.cancel():
            await asyncio.wait(running, timeout=CLOSE_TIMEOUT)

    async def _run(self, _: None) -> None:
        began = monotonic()
        try:
            await self._read()
            self.read_at = began
        except StoreUnavailable as error:
            log_unavailable(error, doing=f"read {self._what}")
        except Exception:  # callers go on with the older values, as while Postgres is away
            log.exception("refresh_failed", what=self._what)
        finally:
            self._tried_at = monotonic()
