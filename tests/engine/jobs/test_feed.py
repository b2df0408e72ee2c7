"""The feed of jobs: one poll for all subscribers, the newest state for slow ones, and nothing while nobody listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from core.errors import StoreUnavailable, Unanswerable
from db.jobs import Job, fail_job, heartbeat, lease_job, request_job
from db.postgres import Connection, Pool
from engine.jobs import feed as job_feed
from engine.jobs.feed import JobFeed

DEADLINE = 10.0  # seconds


class Store:
    """A pool that counts its statements, and may be away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.away = False
        self.asked = 0

    async def fetch(self, *args: Any, **options: Any) -> Any:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("postgres")
        return await self._pool.fetch(*args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        if self.away:
            raise StoreUnavailable("postgres")
        return await self._pool.fetchval(*args, **options)


@pytest.fixture
def store(pool: Pool) -> Store:
    return Store(pool)


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[JobFeed]:
    opened = JobFeed(cast(Connection, store), poll=0.02)
    yield opened
    await opened.close()


async def first(changes: AsyncIterator[Job]) -> tuple[int, str]:
    async with asyncio.timeout(DEADLINE):
        job = await anext(changes)
    return job.id, job.state


async def until_asked(store: Store, more: int) -> None:
    target = store.asked + more
    async with asyncio.timeout(DEADLINE):
        while store.asked < target:  # noqa: ASYNC110  # the feed sends no signal
            await asyncio.sleep(0.005)


async def test_jobs_come_first_as_they_are_and_then_as_they_change(feed: JobFeed, pool: Pool) -> None:
    old = await request_job(pool, "affinity", "old", "a test")
    ended = await lease_job(pool, "affinity", id=old.id)
    assert ended is not None
    await fail_job(pool, ended, "no data")
    waiting = await request_job(pool, "affinity", "waits", "a test")
    async with aclosing(feed.changes()) as changes:
        assert await first(changes) == (waiting.id, "QUEUED"), "one that has ended before is not listed"
        job = await lease_job(pool, "affinity")
        assert job is not None
        assert await first(changes) == (waiting.id, "RUNNING")
        await heartbeat(pool, job)
        later = await request_job(pool, "affinity", "later", "a test")
        assert await first(changes) == (later.id, "QUEUED"), "a heartbeat is no change"
        await fail_job(pool, job, "no data")
        assert await first(changes) == (waiting.id, "FAILED")


async def test_a_slow_subscriber_gets_the_newest_state_only(feed: JobFeed, pool: Pool, store: Store) -> None:
    await request_job(pool, "affinity", "waits", "a test")
    async with aclosing(feed.changes()) as slow, aclosing(feed.changes()) as quick:
        await first(slow)
        await first(quick)
        job = await lease_job(pool, "affinity")
        assert job is not None
        assert await first(quick) == (job.id, "RUNNING")
        await fail_job(pool, job, "no data")
        assert await first(quick) == (job.id, "FAILED")
        assert await first(slow) == (job.id, "FAILED")


async def test_nothing_is_asked_while_nobody_subscribes(feed: JobFeed, pool: Pool, store: Store) -> None:
    await request_job(pool, "affinity", "waits", "a test")
    async with aclosing(feed.changes()) as changes:
        await first(changes)
    task = feed._task
    assert task is not None
    async with asyncio.timeout(DEADLINE):
        await task
    async with aclosing(feed.changes()) as changes:
        assert (await first(changes))[1] == "QUEUED", "the feed starts again"


async def test_postgres_away_is_an_error_at_the_start_and_waited_for_later(
    feed: JobFeed, pool: Pool, store: Store
) -> None:
    store.away = True
    with pytest.raises(StoreUnavailable):
        await first(feed.changes())
    store.away = False
    job = await request_job(pool, "affinity", "waits", "a test")
    async with aclosing(feed.changes()) as changes:
        await first(changes)
        store.away = True
        await until_asked(store, 2)
        store.away = False
        await lease_job(pool, "affinity")
        assert await first(changes) == (job.id, "RUNNING")


async def test_subscribers_are_bounded(feed: JobFeed, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_feed, "MOST_SUBSCRIBERS", 1)
    await request_job(pool, "affinity", "waits", "a test")
    async with aclosing(feed.changes()) as changes:
        await first(changes)
        with pytest.raises(Unanswerable):
            await first(feed.changes())


async def test_many_jobs_are_followed_oldest_first(feed: JobFeed, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_feed, "MOST_JOBS", 2)
    jobs = [await request_job(pool, "affinity", f"job {n}", "a test") for n in range(3)]
    async with aclosing(feed.changes()) as changes:
        assert [await first(changes) for _ in range(2)] == [(job.id, "QUEUED") for job in jobs[:2]]
        leased = await lease_job(pool, "affinity")
        assert leased is not None and leased.id == jobs[0].id
        assert await first(changes) == (jobs[0].id, "RUNNING")
