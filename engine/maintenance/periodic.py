"""What comes round: trainings and exports, jobs nobody works on, months ahead, messages that wait too long."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

import asyncpg
import structlog

from core.settings import EventLake, Schedule
from db.events import MONTHS_AHEAD, ensure_partitions
from db.jobs import AFFINITY, give_up_jobs, schedule_job, unattended_kinds
from db.lake.due_exports import request_export
from db.outbox import oldest_envelope_age

log = structlog.get_logger()

BY: Final = "schedule"
CATCH_UP: Final = timedelta(hours=6)  # a training that was due while nobody looked is still asked for
WAITS_LONG: Final = timedelta(minutes=5)


async def do_chores(pool: asyncpg.Pool, schedule: Schedule, now: datetime) -> list[str]:
    """Everything that is due at `now`; returns the kinds of training that the trainers have to be told of.

    Doing it twice, or twice at once, changes nothing.
    """
    await ensure_partitions(pool, now, now + MONTHS_AHEAD)
    for job in await give_up_jobs(pool):
        log.error("training_given_up", job=job)
    waiting = await oldest_envelope_age(pool)
    if waiting is not None and waiting > WAITS_LONG:
        log.warning("outbox_waits", seconds=round(waiting.total_seconds()))
    return _together(await unattended_kinds(pool), await _schedule_training(pool, schedule, now))


async def _schedule_training(pool: asyncpg.Pool, schedule: Schedule, now: datetime) -> Sequence[str]:
    period = due_period(schedule.retrain_at, now) if schedule.retrain_daily else None
    if period is None or await schedule_job(pool, AFFINITY, period, BY) is None:
        return ()
    log.info("training_scheduled", period=period)
    return (AFFINITY,)


async def due_export(pool: asyncpg.Pool, lake: EventLake, now: datetime) -> str | None:
    """The day whose export the trainers have to be told of; None when it is done, or somebody was told a moment ago."""
    period = due_period(lake.lake_at, now) if lake.lake_url else None
    return period if period is not None and await request_export(pool, period) else None


def due_period(at: time, now: datetime) -> str | None:
    """The day whose training or export is due: its hour has struck, not too long ago. In UTC.

    >>> due_period(time(3), datetime(2026, 3, 2, 4, tzinfo=UTC))
    '2026-03-02'
    >>> due_period(time(3), datetime(2026, 3, 2, 10, tzinfo=UTC))
    >>> due_period(time(23), datetime(2026, 3, 2, 1, tzinfo=UTC))
    '2026-03-01'
    """
    struck = datetime.combine(now.astimezone(UTC), at, UTC)
    if struck > now:
        struck -= timedelta(days=1)
    return struck.date().isoformat() if now - struck < CATCH_UP else None


def _together(*kinds: Sequence[str]) -> list[str]:
    return sorted({kind for some in kinds for kind in some})
