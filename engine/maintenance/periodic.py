"""Periodic work in Postgres: due jobs and exports, abandoned jobs, partitions, ended sign-ins, outboxes."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog

from core.settings import EventLake, Lists, Schedule
from db.authorizations import delete_ended_families
from db.events import MONTHS_AHEAD, ensure_partitions
from db.jobs import REFRESH, TRAININGS, give_up_jobs, request_once, schedule_job, unattended_kinds
from db.lake.due_exports import request_export
from db.list_jobs import LISTS, claim_old_files, request_list_job
from db.mlflow_mirror import MIRROR, claim_mirroring
from db.months import drop_empty_months
from db.outbox import oldest_envelope_age
from db.postgres import Pool
from db.purges import delete_old_purges
from db.refreshes import lacks_new_items
from db.serving import current_serving
from engine.many_lists.wanted_lists import WantedLists

log = structlog.get_logger()

REQUESTED_BY: Final = "schedule"
NEW_ITEMS: Final = "new items in the catalogue"
CATCH_UP: Final = timedelta(hours=6)  # how long after its hour a training or an export is still started
OUTBOX_WARNING: Final = timedelta(minutes=5)


async def do_periodic_work(pool: Pool, schedule: Schedule, lists: Lists, now: datetime) -> list[str]:
    """Do everything that is due at `now`; returns the kinds of jobs for which the trainers need messages.

    Twice, or twice at once, is the same as once.
    """
    await ensure_partitions(pool, now, now + MONTHS_AHEAD)
    await drop_empty_months(pool, now)
    for job in await give_up_jobs(pool):
        log.error("training_given_up", job=job)
    await delete_ended_families(pool)
    await delete_old_purges(pool)
    age = await oldest_envelope_age(pool)
    if age is not None and age > OUTBOX_WARNING:
        log.warning("outbox_waits", seconds=round(age.total_seconds()))
    new = await _schedule_lists(pool, lists, now)
    if await claim_mirroring(pool):
        new = (*new, MIRROR)
    due = {*await _schedule_training(pool, schedule, now), *await _schedule_refresh(pool, schedule, now)}
    return sorted([*({*await unattended_kinds(pool), *due} - {*new}), *new])


async def _schedule_training(pool: Pool, schedule: Schedule, now: datetime) -> Sequence[str]:
    period = due_period(schedule.retrain_at, now) if schedule.retrain_daily else None
    if period is None:
        return ()
    new = [kind for kind in TRAININGS if await schedule_job(pool, kind, period, REQUESTED_BY) is not None]
    for kind in new:
        log.info("training_scheduled", period=period, kind=kind)
    return new


async def _schedule_refresh(pool: Pool, schedule: Schedule, now: datetime) -> Sequence[str]:
    """Request the refresh of the day, if anything serves, or one for new items of the catalogue."""
    period = due_period(schedule.refresh_at, now) if schedule.refresh_daily else None
    serves = period and await current_serving(pool) is not None
    if period and serves and await schedule_job(pool, REFRESH, period, REQUESTED_BY) is not None:
        log.info("refresh_scheduled", period=period)
        return (REFRESH,)
    pause = timedelta(seconds=schedule.refresh_new_items)
    if not pause or not await lacks_new_items(pool, pause):
        return ()
    job = await request_once(pool, REFRESH, NEW_ITEMS, REQUESTED_BY)
    log.info("refresh_requested", job=job.id)
    return (REFRESH,)


async def _schedule_lists(pool: Pool, settings: Lists, now: datetime) -> Sequence[str]:
    """Request the lists of the day, a file for each placement; a kind for each new job, and one for old files."""
    if not settings.lists_url:
        return ()
    new = int(await claim_old_files(pool, timedelta(days=settings.lists_keep)))
    period = due_period(settings.lists_at, now)
    if period is None:
        return (LISTS,) * new
    for placement in settings.lists_daily:
        wanted, reason = WantedLists(placement).as_json(), f"scheduled for {period}"
        if await request_list_job(pool, wanted, reason, REQUESTED_BY, f"{period} {placement}") is not None:
            log.info("lists_scheduled", period=period, placement=placement)
            new += 1
    return (LISTS,) * new


async def due_export(pool: Pool, lake: EventLake, now: datetime) -> str | None:
    """The day whose export needs a message to the trainers; None when it is done, or one was sent a moment ago."""
    period = due_period(lake.lake_at, now) if lake.lake_url else None
    return period if period is not None and await request_export(pool, period) else None


def due_period(at: time, now: datetime) -> str | None:
    """The day whose training or export is due: its hour, in UTC, has passed, and not long ago.

    >>> due_period(time(3), datetime(2026, 3, 2, 4, tzinfo=UTC))
    '2026-03-02'
    >>> due_period(time(3), datetime(2026, 3, 2, 10, tzinfo=UTC))
    >>> due_period(time(23), datetime(2026, 3, 2, 1, tzinfo=UTC))
    '2026-03-01'
    """
    due = datetime.combine(now.astimezone(UTC), at, UTC)
    if due > now:
        due -= timedelta(days=1)
    return due.date().isoformat() if now - due < CATCH_UP else None
