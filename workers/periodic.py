"""The task that beat sends every few seconds, and its schedule."""

from datetime import datetime
from typing import Any, Final

import asyncpg
import structlog
from celery import Celery, Task

from bus.publisher import Broker
from bus.topology import CHORES, EXPORT_EVENTS, LAKE, LOOK_AROUND, TRAIN, TRAINING
from core import clock
from core.errors import StoreUnavailable
from core.settings import EventLake, Schedule, Settings
from core.stores import log_unavailable
from engine.intake.storing import CONFIRM
from engine.maintenance.periodic import do_chores, due_export
from engine.privacy.finishing import carry_on_erasures
from engine.privacy.guests import settle_guests
from workers.observation import observed
from workers.process import Loop

log = structlog.get_logger()

EVERY: Final = 15.0  # seconds

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
    """Give the application its task. A setting that is wrong ends the worker here, not every round of a task."""
    schedule, lake = settings.schedule, settings.lake

    @app.task(name=LOOK_AROUND, bind=True)  # type: ignore[untyped-decorator]
    def look_around(task: Task) -> None:
        """Do what is due, and tell the trainers of what waits."""
        with observed(LOOK_AROUND, task.request.id, task.request.get("traceparent")):
            try:
                kinds = loop.run(_look_around(loop, schedule, has_lake=lake.lake_url is not None))
                export = loop.run(_look_at_lake(loop, lake))
            except StoreUnavailable as error:
                log_unavailable(error, doing="run periodic work")
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
    except StoreUnavailable as error:
        log_unavailable(error, doing="settle guests and carry on erasures")
    return waiting


async def _look_after_people(loop: Loop, pool: asyncpg.Pool, now: datetime, *, has_lake: bool) -> None:
    """Settle guests and carry on erasures. Raises StoreUnavailable."""
    await settle_guests(pool, loop.memory.redis, now)
    broker = Broker(loop.stores.broker_url.get_secret_value(), CONFIRM)
    try:
        await carry_on_erasures(pool, loop.memory.redis, broker, now, has_lake=has_lake)
    finally:
        await broker.close()


async def _look_at_lake(loop: Loop, lake: EventLake) -> str | None:
    return await due_export(await loop.memory.pool(), lake, clock.now())
