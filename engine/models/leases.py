"""Holds the lease of a job: a heartbeat renews it, a worker that lost it stops, one that stops returns it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from core.errors import PenchantError, PlaceRefused, StoreUnavailable
from core.stores import log_unavailable
from core.tasks import end
from db import jobs
from db.jobs import Job, LeaseLost, fail_job, heartbeat, lease_job, note_error, requeue_job
from db.postgres import Pool

log = structlog.get_logger()

LEASE = jobs.LEASE
HEARTBEAT = 30.0  # seconds, well within the lease
STOPPED = "stopped: its trainer was told to end"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(PenchantError):
    """The training, or the lists, were stopped before the end; the job waits for the next trainer."""


@dataclass
class HeldJob:
    """A leased job. `lost`: it was stopped, or another worker may have it."""

    job: Job
    lost: bool = False

    def check(self) -> None:
        """Raise LeaseLost once the job was stopped or another worker may have it."""
        if self.lost:
            raise LeaseLost


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
async def hold(pool: Pool, job: Job) -> AsyncIterator[HeldJob]:
    """Renew the lease while the block runs. When the block fails, the job fails with the reason.

    The job does not fail when a store was away: it keeps the reason, its lease ends, and another worker starts it
    again. It fails at once when a place refuses its files. When the block is cancelled, the job waits again at once,
    and the stop does not count as one of its attempts.
    """
    held = HeldJob(job)
    heartbeats = asyncio.create_task(_send_heartbeats(pool, held))
    try:
        yield held
    except LeaseLost:
        raise
    except (StoreUnavailable, OSError) as error:  # an OSError: the folder of the bundles is away
        keep = fail_job if isinstance(error, PlaceRefused) else note_error
        with suppress(PenchantError):
            await keep(pool, job, _words(error))
        raise
    except asyncio.CancelledError:
        held.lost = True  # for its thread
        with suppress(PenchantError):
            await requeue_job(pool, job, STOPPED)
        raise
    except BaseException as error:
        with suppress(PenchantError):
            await fail_job(pool, job, _words(error))
        raise
    finally:
        held.lost = True
        await end([heartbeats])


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


async def _send_heartbeats(pool: Pool, held: HeldJob) -> None:
    while not held.lost:
        await asyncio.sleep(HEARTBEAT)
        try:
            await heartbeat(pool, held.job, LEASE)
        except LeaseLost:
            log.warning("lease_lost", job=held.job.id)
            held.lost = True
        except StoreUnavailable as error:
            log_unavailable(error, doing="renew a lease", job=held.job.id)
