"""Lists of all users in a file that a trainer writes, below one address: requested, and carried out."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import quote

import structlog

from bus.messages import train
from bus.publisher import Publisher
from core.contract import check_reason
from core.errors import InvalidInput, RateLimited, StoreUnavailable
from core.settings import Lists, Stores
from core.stores import log_unavailable
from db.cache import connect_redis
from db.jobs import Job
from db.lake.list_files import ListFile
from db.list_jobs import LISTS, MOST_WAITING, finish_list_job, note_progress, request_list_job
from db.postgres import Connection, Pool, connect_pool
from engine.models.leases import HeldJob, TrainingStopped, hold, lease_waiting, stopped_by_signals
from engine.recommending.batch import BatchRequest
from engine.recommending.list_files import CONNECTIONS, TIMEOUT, Written, write_lists
from engine.recommending.wanted_lists import WantedLists

log = structlog.get_logger()

NOTE_EVERY: Final = 2.0  # seconds between notes of the progress
NO_PLACE: Final = "PENCHANT_LISTS_URL names no place for files of lists."


async def request_lists(
    pool: Connection, publisher: Publisher, place: str | None, wanted: WantedLists, reason: str, requested_by: str
) -> Job:
    """The waiting job: a new one, or the one that was already waiting for the same lists.

    Raises InvalidInput, also where `place` is not set; RateLimited while too many wait.
    """
    if not place:
        raise InvalidInput(NO_PLACE)
    request_of(wanted)  # raises InvalidInput
    job = await request_list_job(pool, wanted.as_json(), check_reason(reason), requested_by)
    if job is None:
        raise RateLimited(f"{MOST_WAITING} files of lists wait already.")
    try:
        await publisher.publish(train(LISTS))
    except StoreUnavailable as error:
        log_unavailable(error, doing="notify the trainers", job=job.id)
    return job


async def write_waiting_lists(
    stores: Stores, settings: Lists, *, stopping: Callable[[], bool] = lambda: False
) -> str | None:
    """Carry out the oldest job of lists that waits; the address of its file, or None when none waits.

    At SIGTERM or Ctrl-C the job waits again, and this raises TrainingStopped.
    """
    url = stores.postgres_url.get_secret_value()
    async with stopped_by_signals(), await connect_pool(url, size=CONNECTIONS, timeout=TIMEOUT) as pool:
        if stopping():
            raise TrainingStopped
        job = await lease_waiting(pool, LISTS)
        if job is None:
            return None
        async with hold(pool, job) as held:
            return await _write(pool, stores, settings, held)


async def _write(pool: Pool, stores: Stores, settings: Lists, held: HeldJob) -> str:
    if not settings.lists_url:
        raise InvalidInput(NO_PLACE)
    wanted = WantedLists.of(held.job.list_request)
    file = file_of(settings.lists_url, wanted, held.job.requested_at, held.job.id)
    log.info("lists_began", job=held.job.id, attempt=held.job.fencing_token, placement=wanted.placement)
    async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
        with ListFile.at(file, wanted.format) as lists:
            written = await write_lists(
                pool, redis, stores.bundles, settings, lists, request_of(wanted), report=_Progress(pool, held)
            )
            held.check()
    await finish_list_job(pool, held.job, written._asdict() | {"file": file})
    log.info("lists_written", job=held.job.id, lists=written.lists, degraded=written.degraded)
    return file


def request_of(wanted: WantedLists) -> BatchRequest:
    """The list that everybody gets. Raises InvalidInput."""
    return BatchRequest.of(wanted.placement, wanted.first, wanted.market, wanted.filter)


def file_of(place: str, wanted: WantedLists, at: datetime, job: int) -> str:
    """The address of a job's file: a folder for each placement, the day, and the job."""
    return f"{place.rstrip('/')}/{quote(wanted.placement, safe='')}/{at:%Y-%m-%d}-{job}.{wanted.format}"


class _Progress:
    """Keeps what is written so far with the job, and stops the work once its lease is lost."""

    def __init__(self, pool: Pool, held: HeldJob) -> None:
        self._pool, self._held, self._next = pool, held, 0.0

    async def __call__(self, written: Written) -> None:
        self._held.check()
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next = now + NOTE_EVERY
            await note_progress(self._pool, self._held.job, written._asdict())
