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


async def test_a_read_that_is_soon_due_begins_without_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    now, begun, answers = 100.0, asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(refreshing, "monotonic", lambda: now)
    answers.set()

    async def read() -> None:
        begun.set()
        await answers.wait()

    refresher = Refresher("revocations", read, every=2.0)
    await refresher.refresh()
    begun.clear()
    answers.clear()
    now += 1.4
    await refresher.refresh()
    await asyncio.sleep(0)
    assert not begun.is_set()
    now += 0.2
    await refresher.refresh()  # returns, although the read does not
    async with asyncio.timeout(10.0):
        await begun.wait()
        assert refresher.read_at == 100.0
        answers.set()
        now += 2.0
        await refresher.refresh()  # waits for the one that runs
    assert refresher.read_at == pytest.approx(101.6)
