"""Values that are read again from Postgres: the older ones are used while a read fails."""

import asyncio

import pytest

from api.http import refresher as refreshing
from api.http.refresher import NEVER, Refresher
from core.errors import StoreUnavailable


@pytest.mark.parametrize("error", [StoreUnavailable("postgres"), ValueError("a bug")])
async def test_a_read_that_fails_keeps_the_older_values_and_the_next_one_counts(error: Exception) -> None:
    failures: list[Exception] = []

    async def read() -> None:
        if failures:
            raise failures.pop()

    refresher = Refresher("revocations", read, every=0.0)
    await refresher.refresh()
    first = refresher.read_at
    failures.append(error)
    await refresher.refresh()
    assert refresher.read_at == first
    await refresher.refresh()
    assert refresher.read_at > first


async def test_without_any_read_there_are_no_values() -> None:
    async def read() -> None:
        raise StoreUnavailable("postgres")

    refresher = Refresher("revocations", read, every=0.0)
    await refresher.refresh()
    assert refresher.read_at == NEVER


async def test_a_first_read_that_hangs_delays_a_caller_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "FIRST_READ_TIMEOUT", 0.01)
    answers = asyncio.Event()

    async def read() -> None:
        await answers.wait()

    refresher = Refresher("origins", read, every=0.0)
    async with asyncio.timeout(10.0):
        await refresher.refresh()
        assert refresher.read_at == NEVER
        answers.set()  # the read went on
        await refresher.refresh()
    assert refresher.read_at > NEVER
