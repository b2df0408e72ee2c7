"""Holds the lease of a job: a heartbeat renews it, a worker that lost it stops, one that stops returns it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from core.errors import PenchantError, PlaceRefused, StoreUnavailable
from core.stores import log_unavailable
from core.tasks import end
from db import jobs
from db.jobs import Job, LeaseLost, Progress, check_held, fail_job, heartbeat, lease_job, note_error, requeue_job
from db.postgres import Pool
from engine.jobs.bounds import BoundExceeded, Bounds

log = structlog.get_logger()

LEASE = jobs.LEASE
HEARTBEAT = 30.0  # seconds, well within the lease
LOOK = 2.0  # seconds between looks at the job's row; what is new of its progress is written then
LOOK_AT_BOUNDS = 0.5  # seconds
UNBOUNDED: Final = Bounds()
STOPPED = "stopped: its trainer was told to end"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(PenchantError):
    """The training, or the lists, were stopped before the end; the job waits for the next trainer."""


@dataclass
class HeldJob:
    """A leased job. `lost`: it was stopped, or another worker may have it."""

    job: Job
    lost: bool = False
    progress: Progress | None = None

    def check(self) -> None:
        """Raise LeaseLost once the job was stopped or another worker may have it."""
        if self.lost:
            raise LeaseLost

    def report(self, stage: str, done: int, of: int) -> None:
        """Keep how far the job is, for its row. Raises LeaseLost as `check` does."""
        self.check()
        self.progress = Progress(stage=stage, done=done, of=of)


async def lease_waiting(pool: Pool, kind: str) -> Job | None:
    """Lease the oldest job that waits. If this is cancelled meanwhile, the job waits again: nobody holds it yet."""
    leasing = asyncio.create_task(lease_job(pool, kind, LEASE))
    try:
        return await asyncio.shield(leasing)
    except asyncio.CancelledError:
        job = await leasing
        if job is not None:
            await requeue_job(pool, job, STOPPED)
        raise


@asynccontextmanager
async def hold(pool: Pool, job: Job, bounds: Bounds = UNBOUNDED) -> AsyncIterator[HeldJob]:
    """Renew the lease while the block runs. When the block fails, the job fails with the reason.

    The block is cancelled, and this raises the reason, when the job was cancelled or went to another worker
    (LeaseLost), or is beyond its bounds (BoundExceeded).

    The job does not fail when a store was away: it keeps the reason, its lease ends, and another worker starts it
    again. It fails at once when a place refuses its files. When the block is cancelled from outside, the job waits
    again at once, and the stop does not count as one of its attempts.
    """
    held = HeldJob(job)
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    watch = asyncio.create_task(_watch(pool, held, bounds, task))
    try:
        try:
            yield held
        finally:
            held.lost = True  # for its threads
            await end([watch])
    except LeaseLost:
        raise
    except (StoreUnavailable, OSError) as error:  # an OSError: the folder of the bundles is away
        keep = fail_job if isinstance(error, PlaceRefused) else note_error
        with suppress(PenchantError):
            await keep(pool, job, _words(error))
        raise
    except asyncio.CancelledError:
        stopped = _result(watch)
        if stopped is None or task.uncancel() > cancelled_before:
            with suppress(PenchantError):
                await requeue_job(pool, job, STOPPED)
            raise
        if isinstance(stopped, BoundExceeded):
            with suppress(PenchantError):
                await fail_job(pool, job, _words(stopped))
        raise stopped from None
    except BaseException as error:
        with suppress(PenchantError):
            await fail_job(pool, job, _words(error))
        raise


def _words(error: BaseException) -> str:
    """What a job says of an error: the words of our own, and the file of an OSError."""
    if isinstance(error, PenchantError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}"
    return type(error).__name__


@asynccontextmanager
async def stopped_by_signals() -> AsyncIterator[None]:
    """Cancel the block at the first SIGTERM or SIGINT (Ctrl-C); then raise TrainingStopped. For a main thread only.

    Later signals are ignored until the event loop is closed: what follows on the stop is not interrupted.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            task.cancel()

    for each in STOP_SIGNALS:
        loop.add_signal_handler(each, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
        task.uncancel()
        raise TrainingStopped from None
    finally:
        if not stopped:
            for each in STOP_SIGNALS:
                loop.remove_signal_handler(each)


async def _watch(pool: Pool, held: HeldJob, bounds: Bounds, task: "asyncio.Task[object]") -> PenchantError | None:
    """Renew the lease and keep the progress until the job is lost or beyond its bounds; cancels the task then."""
    began = renewed = looked = time.monotonic()
    written, away = None, False
    while True:
        await asyncio.sleep(min(LOOK_AT_BOUNDS, LOOK, HEARTBEAT))
        now = time.monotonic()
        try:
            bounds.check(began)
            if now - looked < min(LOOK, HEARTBEAT):
                continue
            looked = now
            if now - renewed >= HEARTBEAT or held.progress is not written:
                written = held.progress
                await heartbeat(pool, held.job, LEASE, written)
                renewed = now
            else:
                await check_held(pool, held.job)
            away = False
        except (LeaseLost, BoundExceeded) as error:
            log.warning("job_stopped", job=held.job.id, error=f"{type(error).__name__}: {error}")
            held.lost = True
            task.cancel()
            return error
        except StoreUnavailable as error:
            if not away:
                log_unavailable(error, doing="renew a lease", job=held.job.id)
            away = True


def _result(watch: "asyncio.Task[PenchantError | None]") -> PenchantError | None:
    """Why the ended watch cancelled the job; None when it did not."""
    return None if watch.cancelled() else watch.result()
