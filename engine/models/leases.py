"""Holds the lease of a training job: a heartbeat renews it, and a worker that lost it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from core.errors import PenchantError, StoreUnavailable
from core.stores import log_unavailable
from core.tasks import end
from db import jobs
from db.jobs import Job, LeaseLost, fail_job, heartbeat
from db.postgres import Pool

log = structlog.get_logger()

LEASE = jobs.LEASE
HEARTBEAT = 30.0  # seconds, well within the lease


@dataclass
class HeldJob:
    """A leased job. `lost`: another worker may have it."""

    job: Job
    lost: bool = False

    def check(self) -> None:
        """Raise LeaseLost once another worker may have the job."""
        if self.lost:
            raise LeaseLost


@asynccontextmanager
async def hold(pool: Pool, job: Job) -> AsyncIterator[HeldJob]:
    """Renew the lease while the block runs. When the block fails, the job fails with the reason.

    The job does not fail when a store was away: its lease ends, and another worker starts it again.
    """
    held = HeldJob(job)
    heartbeats = asyncio.create_task(_send_heartbeats(pool, held))
    try:
        yield held
    except (LeaseLost, StoreUnavailable, OSError):  # an OSError: the folder of the bundles is away
        raise
    except BaseException as error:
        with suppress(PenchantError):
            await fail_job(pool, job, str(error) if isinstance(error, PenchantError) else type(error).__name__)
        raise
    finally:
        await end([heartbeats])


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
