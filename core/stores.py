"""A store that is away: one log event for it, and a time limit that makes a slow store one that is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from core.errors import StoreName, StoreUnavailable

log = structlog.get_logger()


def log_unavailable(error: StoreUnavailable, *, doing: str, **fields: object) -> None:
    """Log that a store is away, and what is left undone because of it."""
    log.warning("store_unavailable", store=error.store, doing=doing, error=str(error), **fields)


@asynccontextmanager
async def time_limit(store: StoreName, seconds: float) -> AsyncIterator[None]:
    """Give what runs inside so many seconds of a store's time. Raises StoreUnavailable when they are over."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(store, f"No answer within {seconds:g} seconds.") from error
