"""Requests of lists of all users, for the trainers to write. Without pyarrow, which gateways do without."""

from typing import Final

from bus.messages import train
from bus.publisher import Publisher
from core.contract import check_reason
from core.errors import InvalidInput, RateLimited, StoreUnavailable
from core.stores import log_unavailable
from core.texts import has_nul
from db.jobs import Job
from db.list_jobs import LISTS, MOST_WAITING, request_list_job
from db.postgres import Connection
from engine.many_lists.batch import BatchRequest
from engine.many_lists.wanted_lists import WantedLists

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
    stored = wanted.as_json()
    if has_nul(stored):
        raise InvalidInput("A text of the lists has the NUL character", "filter")
    job = await request_list_job(pool, stored, check_reason(reason), requested_by)
    if job is None:
        raise RateLimited(f"{MOST_WAITING} files of lists wait already.")
    try:
        await publisher.publish(train(LISTS))
    except StoreUnavailable as error:
        log_unavailable(error, doing="notify the trainers", job=job.id)
    return job


def request_of(wanted: WantedLists) -> BatchRequest:
    """The list that everybody gets. Raises InvalidInput."""
    return BatchRequest.of(wanted.placement, wanted.first, wanted.market, wanted.filter, wanted.list)
