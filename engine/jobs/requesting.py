"""Requests the trainings of all kinds: one job of a kind waits at a time. Cancels a job."""

from bus.messages import train
from bus.publisher import Publisher
from core.contract import check_reason
from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db import jobs
from db.jobs import TRAININGS, Job, request_once
from db.postgres import Connection


async def request_training(pool: Connection, publisher: Publisher, reason: str, requested_by: str) -> Job:
    """The waiting job of the lists' model: a new one, or the one that waits already; the forecast's is behind it.

    Raises InvalidInput for a wrong reason. Without the broker the trainers find the jobs later: the periodic work
    notifies them again.
    """
    reason = check_reason(reason)
    first, *others = [await request_once(pool, kind, reason, requested_by) for kind in TRAININGS]
    try:
        for job in (first, *others):
            await publisher.publish(train(job.kind))
    except StoreUnavailable as error:
        log_unavailable(error, doing="notify the trainers", job=first.id)
    return first


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
