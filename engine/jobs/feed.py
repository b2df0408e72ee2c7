"""Tells subscribers how jobs change. All subscribers of a process share one poll of Postgres."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Final

import structlog

from core.errors import StoreUnavailable, Unanswerable
from core.stores import log_unavailable
from core.tasks import end
from db.jobs import Job, list_active_jobs, list_jobs_since, newest_job_id
from db.postgres import Connection

log = structlog.get_logger()

POLL: Final = 1.0  # seconds
MOST_SUBSCRIBERS: Final = 5_000  # of a process
MOST_JOBS: Final = 200  # that are followed at a time, oldest first


class JobFeed:
    """Polls while anybody subscribes. `pool` runs the statements, `poll` is in seconds.

    A subscriber that reads slowly misses steps of a job, never its newest state.
    """

    def __init__(self, pool: Connection, *, poll: float = POLL) -> None:
        self._pool = pool
        self._poll = poll
        self._subscribers: set[_Subscriber] = set()
        self._active: dict[int, Job] = {}  # the jobs that wait or run, as they were read last
        self._newest = 0  # the largest id that was read
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self.polls = 0

    async def changes(self, id: int | None = None) -> AsyncGenerator[Job, None]:
        """The jobs that wait or run now, then each job when it has changed; with `id`, only that job.

        Raises Unanswerable when there are too many subscribers, and StoreUnavailable when Postgres is away at the
        start; later the feed waits for it.
        """
        if len(self._subscribers) >= MOST_SUBSCRIBERS:
            raise Unanswerable("postgres", "Too many subscribers follow the jobs: try again later.")
        subscriber = _Subscriber(id)
        self._subscribers.add(subscriber)
        try:
            await self._start()
            subscriber.add(self._active.values())
            while True:
                yield await subscriber.next()
        finally:
            self._subscribers.discard(subscriber)

    async def close(self) -> None:
        """Stop polling."""
        if self._task is not None:
            await end([self._task])

    async def _start(self) -> None:
        """Read once, so that an error reaches the subscriber, and then in a task."""
        async with self._starting:
            if self._task is None or self._task.done():
                self._newest = await newest_job_id(self._pool)
                self._active = {job.id: _as_seen(job) for job in await list_active_jobs(self._pool, MOST_JOBS)}
                self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(self._poll)
        while self._subscribers:
            try:
                await self._read()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read the jobs that changed")
            except Exception:  # the next read may succeed; without it, subscribers would wait for ever
                log.exception("jobs_not_read")
            await asyncio.sleep(self._poll)

    async def _read(self) -> None:
        self.polls += 1
        room = MOST_JOBS - len(self._active)
        jobs = [_as_seen(job) for job in await list_jobs_since(self._pool, self._newest, list(self._active), room)]
        changed = [job for job in jobs if self._active.get(job.id) != job]
        self._newest = max([self._newest, *(job.id for job in jobs)])
        self._active = {job.id: job for job in jobs if job.finished_at is None}
        for subscriber in self._subscribers:
            subscriber.add(changed)


def _as_seen(job: Job) -> Job:
    """The job without what a heartbeat changes."""
    return replace(job, lease_until=None)


class _Subscriber:
    """What one subscriber has not read yet: the newest state of each changed job."""

    def __init__(self, id: int | None) -> None:
        self._id = id
        self._changed: dict[int, Job] = {}
        self._arrived = asyncio.Event()

    def add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if self._id is None or job.id == self._id:
                self._changed[job.id] = job
                self._arrived.set()

    async def next(self) -> Job:
        await self._arrived.wait()
        job = self._changed.pop(next(iter(self._changed)))
        if not self._changed:
            self._arrived.clear()
        return job
