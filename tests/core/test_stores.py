"""A store that is away is one log event, and a store that is too slow is away."""

import asyncio

import pytest
from structlog.testing import capture_logs

from core.errors import StoreUnavailable
from core.stores import log_unavailable, time_limit


def test_a_store_that_is_away_is_one_log_event() -> None:
    with capture_logs() as lines:
        log_unavailable(StoreUnavailable("lake"), doing="export a day", day="2026-03-01")
    assert lines == [
        {
            "event": "store_unavailable",
            "log_level": "warning",
            "store": "lake",
            "doing": "export a day",
            "error": "A store did not answer.",
            "day": "2026-03-01",
        }
    ]


async def test_a_store_that_is_too_slow_is_away() -> None:
    with pytest.raises(StoreUnavailable, match=r"No answer within 0\.01 seconds") as raised:
        async with time_limit("postgres", 0.01):
            await asyncio.sleep(60)
    assert raised.value.store == "postgres"


async def test_a_time_limit_of_the_caller_does_not_count_as_the_stores() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), time_limit("postgres", 60):
            await asyncio.sleep(60)
