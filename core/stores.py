"""Stores that are away: one log event for all of them, and a time limit after which a slow store counts as away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from core.errors import StoreName, StoreUnavailable

log = structlog.get_logger()


def log_unavailable(error: StoreUnavailable, *, doing: str, **fields: object) -> None:
    """Log that a store is away, and what could not be done because of it."""
    log.warning("store_unavailable", store=error.store, doing=doing, error=str(error), **fields)


@asynccontextmanager
async def time_limit(store: StoreName, seconds: float) -> AsyncIterator[None]:
    """Let the block inside take at most `seconds`. Raises StoreUnavailable when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(store, f"No answer within {seconds:g} seconds.") from error
