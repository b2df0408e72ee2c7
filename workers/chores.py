"""What comes round: trainings and exports, jobs nobody works on, months ahead, messages that wait too long."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import asyncpg
import structlog
from celery import Celery, Task

from core import clock
from core.settings import EventLake, Schedule, Settings
from db import cache
from db.events import ensure_partitions
from db.jobs import AFFINITY, give_up_jobs, schedule_job, unattended_kinds
from db.lake.due import ask_export
from db.outbox import oldest_parcel
from workers.enqueue import Broker
from workers.erasures import carry_on_erasures
from workers.events import AWAY, CONFIRM, Loop
from workers.observation import observed
from workers.people import settle_guests
from workers.topology import CHORES, EXPORT_EVENTS, LAKE, LOOK_AROUND, TRAIN, TRAINING

log = structlog.get_logger()

EVERY: Final = 15.0  # seconds
BY: Final = "schedule"
CATCH_UP: Final = timedelta(hours=6)  # a training that was due while nobody looked is still asked for
AHEAD: Final = timedelta(days=62)
WAITS_LONG: Final = timedelta(minutes=5)

SCHEDULE: Final[dict[str, Any]] = {
    "beat_schedule": {
        "look-around": {
            "task": LOOK_AROUND,
            "schedule": EVERY,
            "options": {"exchange": CHORES.exchange.name, "routing_key": CHORES.routing_key, "expires": 4 * EVERY},
        }
    },
    "beat_max_loop_interval": 1,  # seconds between looks at whether this beat still leads
    "result_expires": None,  # no clean-up of results: there are none
}


def register(app: Celery, loop: Loop, settings: Settings) -> None:
    """Give the application its task."""
    lake = settings.lake  # a wrong setting ends the worker as it starts, not every look

    @app.task(name=LOOK_AROUND, bind=True)  # type: ignore[untyped-decorator]
    def look_around(task: Task) -> None:
        """Do what is due, and tell the trainers of what waits."""
        with observed(LOOK_AROUND, task.request.id, task.request.get("traceparent")):
            try:
                kinds = loop.run(_look_around(loop, settings.schedule, has_lake=lake.lake_url is not None))
                export = loop.run(_look_at_lake(loop, lake))
            except AWAY as error:
                log.warning("chores_put_off", error=f"{type(error).__name__}: {error}")
                return
            for kind in kinds:
                app.send_task(TRAIN, [kind], exchange=TRAINING.exchange, routing_key=TRAINING.routing_key)
            if export is not None:
                app.send_task(EXPORT_EVENTS, [export], exchange=LAKE.exchange, routing_key=LAKE.routing_key)


async def _look_around(loop: Loop, schedule: Schedule, *, has_lake: bool) -> list[str]:
    pool, now = await loop.memory.pool(), clock.now()
    waiting = await do_chores(pool, schedule, now)
    try:
        await _look_after_people(loop, pool, now, has_lake=has_lake)
    except (*cache.UNREACHABLE, *AWAY) as error:
        log.warning("people_not_looked_after", error=repr(error))
    return waiting


async def _look_after_people(loop: Loop, pool: asyncpg.Pool, now: datetime, *, has_lake: bool) -> None:
    """Settle guests and carry on erasures. Raises what Redis raises, and StoreUnavailable without the broker."""
    await settle_guests(pool, loop.memory.redis, now)
    broker = Broker(loop.stores.broker_url.get_secret_value(), CONFIRM)
    try:
        await carry_on_erasures(pool, loop.memory.redis, broker, now, has_lake=has_lake)
    finally:
        await broker.close()


async def do_chores(pool: asyncpg.Pool, schedule: Schedule, now: datetime) -> list[str]:
    """Everything that is due at `now`; returns the kinds of training that the trainers have to be told of.

    Doing it twice, or twice at once, changes nothing.
    """
    await ensure_partitions(pool, now, now + AHEAD)
    for job in await give_up_jobs(pool):
        log.error("training_given_up", job=job)
    waiting = await oldest_parcel(pool)
    if waiting is not None and waiting > WAITS_LONG:
        log.warning("outbox_waits", seconds=round(waiting.total_seconds()))
    return _together(await unattended_kinds(pool), await _schedule_training(pool, schedule, now))


async def _schedule_training(pool: asyncpg.Pool, schedule: Schedule, now: datetime) -> Sequence[str]:
    period = due_period(schedule.retrain_at, now) if schedule.retrain_daily else None
    if period is None or await schedule_job(pool, AFFINITY, period, BY) is None:
        return ()
    log.info("training_scheduled", period=period)
    return (AFFINITY,)


async def _look_at_lake(loop: Loop, lake: EventLake) -> str | None:
    return await due_export(await loop.memory.pool(), lake, clock.now())


async def due_export(pool: asyncpg.Pool, lake: EventLake, now: datetime) -> str | None:
    """The day whose export the trainers have to be told of; None when it is done, or somebody was told a moment ago."""
    period = due_period(lake.lake_at, now) if lake.lake_url else None
    return period if period is not None and await ask_export(pool, period) else None


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
