"""Lists of all users in a file below one address: carries out the jobs that `list_requests` makes."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

import structlog

from core.errors import InvalidInput, StoreUnavailable
from core.settings import Lists, Stores
from core.stores import log_unavailable
from db.cache import connect_redis
from db.lake.list_files import ListFile
from db.lake.location import Lake
from db.list_jobs import LISTS, finish_list_job, forget_file, note_progress, old_files
from db.postgres import Pool, connect_pool
from engine.jobs.leases import HeldJob, TrainingStopped, hold, lease_waiting, stopped_by_signals
from engine.many_lists.list_files import CONNECTIONS, TIMEOUT, Written, write_lists
from engine.many_lists.list_requests import NO_PLACE, request_of
from engine.many_lists.wanted_lists import WantedLists

log = structlog.get_logger()

NOTE_EVERY: Final = 2.0  # seconds between notes of the progress


async def write_waiting_lists(
    stores: Stores, settings: Lists, *, stopping: Callable[[], bool] = lambda: False
) -> str | None:
    """Carry out the oldest job of lists that waits; the address of its file, or None when none waits.

    Files that are older than `lists_keep` are deleted before.
    At SIGTERM or Ctrl-C the job waits again, and this raises TrainingStopped.
    """
    url = stores.postgres_url.get_secret_value()
    async with stopped_by_signals(), await connect_pool(url, size=CONNECTIONS, timeout=TIMEOUT) as pool:
        if stopping():
            raise TrainingStopped
        await _delete_old_files(pool, timedelta(days=settings.lists_keep))
        job = await lease_waiting(pool, LISTS)
        if job is None:
            return None
        async with hold(pool, job) as held:
            return await _write(pool, stores, settings, held)


async def _delete_old_files(pool: Pool, keep: timedelta) -> None:
    """Delete the files that are older than this. One that cannot be deleted is tried again after a day."""
    for job, file in await old_files(pool, keep):
        try:
            folder, name = Lake.of_file(file)
            await asyncio.to_thread(folder.remove, [name])
        except InvalidInput as error:
            log.warning("list_file_not_deleted", job=job, error=str(error))
        except StoreUnavailable as error:
            log_unavailable(error, doing="delete an old file of lists", job=job)
        else:
            await forget_file(pool, job)
            log.info("list_file_deleted", job=job)


async def _write(pool: Pool, stores: Stores, settings: Lists, held: HeldJob) -> str:
    if not settings.lists_url:
        raise InvalidInput(NO_PLACE)
    wanted = WantedLists.of(held.job.list_request)
    file = file_of(settings.lists_url, wanted, held.job.requested_at, held.job.id)
    log.info("lists_began", job=held.job.id, attempt=held.job.fencing_token, placement=wanted.placement)
    async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
        with _opened(file, wanted) as lists:
            written = await write_lists(
                pool, redis, stores.bundles, settings, lists, request_of(wanted), report=_Progress(pool, held)
            )
            held.check()
    await finish_list_job(pool, held.job, written._asdict() | {"file": file})
    log.info("lists_written", job=held.job.id, lists=written.lists, degraded=written.degraded)
    return file


def _opened(file: str, wanted: WantedLists) -> ListFile:
    try:
        return ListFile.at(file, wanted.format)
    except InvalidInput as error:
        raise InvalidInput(f"PENCHANT_LISTS_URL: {error}") from error


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
