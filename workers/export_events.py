"""The task that exports events to the lake, in the trainer's process because it may take long."""

import asyncio

import structlog
from celery import Celery, Task

from bus.topology import EXPORT_EVENTS
from core.errors import PenchantError
from core.settings import EventLake, Settings, Stores
from db.postgres import connect_pool
from engine.maintenance.exporting import carry_out
from workers.observation import observed

log = structlog.get_logger()


def register(app: Celery, settings: Settings) -> None:
    """Give the application its task."""

    @app.task(name=EXPORT_EVENTS, bind=True, acks_late=False)  # type: ignore[untyped-decorator]
    def export_due(task: Task, period: str) -> None:
        """Carry out the export of a day; whoever does it twice, or twice at once, changes nothing."""
        with observed(EXPORT_EVENTS, task.request.id, task.request.get("traceparent")):
            try:
                asyncio.run(_export_due(settings.stores, settings.lake, period))
            except PenchantError as error:
                log.warning("export_put_off", error=f"{type(error).__name__}: {error}")


async def _export_due(stores: Stores, settings: EventLake, period: str) -> None:
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=2) as pool:
        await carry_out(pool, settings, period)
