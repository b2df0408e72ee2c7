"""A training job held while somebody works on it: the lease is renewed, and who lost it is stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import structlog

from core.errors import PenchantError, StoreUnavailable
from core.stores import log_unavailable
from core.tasks import end
from db import jobs
from db.jobs import Job, LeaseLost, fail_job, heartbeat

log = structlog.get_logger()

LEASE = jobs.LEASE
HEARTBEAT = 30.0  # seconds, well within the lease


@dataclass
class Held:
    """A job and whether it is still ours."""

    job: Job
    lost: bool = False

    def check(self) -> None:
        """Raise LeaseLost once another worker may have the job."""
        if self.lost:
            raise LeaseLost


@asynccontextmanager
async def held(pool: asyncpg.Pool, job: Job) -> AsyncIterator[Held]:
    """Renew the lease while the block runs. Whoever looks sees afterwards why the block failed, if it did.

    What a store that went away interrupted is not failed: the lease runs out, and the job is taken up again.
    """
    holding = Held(job)
    beating = asyncio.create_task(_beat(pool, holding))
    try:
        yield holding
    except (LeaseLost, StoreUnavailable, OSError):  # an OSError: the folder of the bundles is away
        raise
    except BaseException as error:
        with suppress(PenchantError):
            await fail_job(pool, job, str(error) if isinstance(error, PenchantError) else type(error).__name__)
        raise
    finally:
        await end([beating])


async def _beat(pool: asyncpg.Pool, holding: Held) -> None:
    while not holding.lost:
        await asyncio.sleep(HEARTBEAT)
        try:
            await heartbeat(pool, holding.job, LEASE)
        except LeaseLost:
            log.warning("lease_lost", job=holding.job.id)
            holding.lost = True
        except StoreUnavailable as error:
            log_unavailable(error, doing="renew a lease", job=holding.job.id)
