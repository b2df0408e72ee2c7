"""The periodic task, and the schedule by which beat sends it."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from celery import Celery, Task

from bus.envelope import Kind
from bus.messages import export_events, train
from bus.rabbitmq.topology import PERIODIC, PURGES
from core import clock
from core.errors import StoreUnavailable
from core.settings import Bundles, EventLake, Lists, Schedule, Settings
from core.stores import log_unavailable
from db.segments import has_due_segments
from engine.maintenance.periodic import do_periodic_work, due_export
from engine.privacy.continuing_erasures import continue_erasures
from engine.privacy.guests import settle_guests
from engine.privacy.merging import settle_merges
from workers.observation import observed
from workers.process import Connections, WorkerProcess

log = structlog.get_logger()

PERIOD: Final = 15.0  # seconds
PURGES_PERIOD: Final = 1.0  # seconds
NAME_BEFORE: Final = "penchant.look_around"  # in messages of the release before

BEAT_SETTINGS: Final[dict[str, Any]] = {
    "beat_schedule": {
        "periodic": {
            "task": Kind.PERIODIC,
            "schedule": PERIOD,
            "options": {"exchange": PERIODIC.exchange.name, "routing_key": PERIODIC.routing_key, "expires": 4 * PERIOD},
        }
    },
    "beat_max_loop_interval": 1,  # seconds between checks whether this beat still leads
    "result_expires": None,  # no task that deletes results: there are no results
}
PURGES_SCHEDULE: Final[dict[str, Any]] = {
    "purges": {
        "task": Kind.SEND_PURGES,
        "schedule": PURGES_PERIOD,
        "options": {"exchange": PURGES.exchange.name, "routing_key": PURGES.routing_key, "expires": 60 * PURGES_PERIOD},
    }
}  # where a purge webhook is set up


def register(app: Celery, process: WorkerProcess, settings: Settings) -> None:
    """Add the task to the application. A wrong setting ends the worker here instead of failing each run."""
    schedule, lists, lake = settings.schedule, settings.lists, settings.lake
    bundles, folder = settings.bundles, settings.stores.bundles

    @app.task(name=Kind.PERIODIC, bind=True)  # type: ignore[untyped-decorator]
    def periodic(task: Task) -> None:
        """Do the work that is due, and send the trainers a message for each waiting training and export."""
        with observed(Kind.PERIODIC, task.request.id, task.request.get("traceparent")):
            steps: list[tuple[str, Callable[[], Coroutine[None, None, None]]]] = [
                ("schedule jobs", partial(_schedule, process.connections, schedule, lists, lake)),
                ("settle guests and merged users, and continue erasures", partial(_settle, process.connections, lake)),
                ("refresh segments", partial(_refresh_segments, process.connections, folder)),
            ]
            if folder.is_dir():
                steps.append(("delete old bundles", partial(_prune, process.connections, folder, bundles)))
            for doing, step in steps:
                try:
                    process.run(step())
                except StoreUnavailable as error:
                    log_unavailable(error, doing=doing)

    app.tasks[NAME_BEFORE] = periodic


async def _schedule(connections: Connections, schedule: Schedule, lists: Lists, lake: EventLake) -> None:
    """Do what is due in Postgres, and send a message for each training and export that waits."""
    pool, now = await connections.pool(), clock.now()
    async with connections.publisher() as publisher:
        kinds = await do_periodic_work(pool, schedule, lists, now)
        period = await due_export(pool, lake, clock.now())
        for kind in kinds:
            await publisher.publish(train(kind))
        if period is not None:
            await publisher.publish(export_events(period))


async def _prune(connections: Connections, folder: Path, bundles: Bundles) -> None:
    """Delete old bundles."""
    from engine.models.pruning import prune_bundles  # NumPy, which workers that see no bundles do without

    try:
        await prune_bundles(await connections.pool(), folder, bundles, clock.now())
    except OSError as error:
        log.warning("bundles_not_deleted", error=type(error).__name__)


async def _refresh_segments(connections: Connections, folder: Path) -> None:
    """Find the members of segments that are due."""
    pool = await connections.pool()
    if await has_due_segments(pool):
        from engine.segments.refreshing import refresh_segments  # NumPy, which other workers do without

        await refresh_segments(pool, folder)


async def _settle(connections: Connections, lake: EventLake) -> None:
    """Settle guests and merged users, and continue erasures."""
    pool, redis, now = await connections.pool(), connections.redis, clock.now()
    async with connections.publisher() as publisher:
        await settle_guests(pool, redis, now)
        await settle_merges(pool, redis, now)
        await continue_erasures(pool, redis, publisher, now, has_lake=lake.lake_url is not None)
