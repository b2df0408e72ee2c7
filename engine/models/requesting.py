"""Requests a training: one job waits at a time, and the trainers are notified. Cancels a job."""

from bus.messages import train
from bus.publisher import Publisher
from core.contract import check_reason
from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db import jobs
from db.jobs import AFFINITY, Job, request_once
from db.postgres import Connection


async def request_training(pool: Connection, publisher: Publisher, reason: str, requested_by: str) -> Job:
    """The waiting job: a new one, or the one that was already waiting. Raises InvalidInput for a wrong reason.

    Without the broker the trainers find the job later: the periodic work notifies them again.
    """
    job = await request_once(pool, AFFINITY, check_reason(reason), requested_by)
    try:
        await publisher.publish(train(AFFINITY))
    except StoreUnavailable as error:
        log_unavailable(error, doing="notify the trainers", job=job.id)
    return job


class JobEnded(InvalidInput):
    """The job has ended and cannot be cancelled."""


async def cancel_job(pool: Connection, id: int, cancelled_by: str) -> Job:
    """End a job that waits or runs; its trainer stops within seconds, and nothing of it is registered.

    A cancelled job stays cancelled. Raises InvalidInput for an unknown job, and JobEnded.
    """
    job = await jobs.cancel_job(pool, id, cancelled_by)
    if job is None:
        raise InvalidInput("There is no such job.", field="id")
    if job.state != "CANCELLED":
        raise JobEnded(f"The job {id} has ended: {job.state.lower()}.", field="id")
    return job
