"""The task that exports events to the lake; it runs in the trainer's process because it may take long."""

import asyncio

import structlog
from celery import Celery, Task

from bus.envelope import Kind
from core.errors import PenchantError
from core.settings import EventLake, Settings, Stores
from db.postgres import connect_pool
from engine.maintenance.exporting import export_day
from workers.observation import observed

log = structlog.get_logger()


def register(app: Celery, settings: Settings) -> None:
    """Add the task to the application."""

    @app.task(name=Kind.EXPORT_EVENTS, bind=True, acks_late=False)  # type: ignore[untyped-decorator]
    def export_events(task: Task, period: str) -> None:
        """Carry out the export of a day. Twice, or twice at once, is the same as once."""
        with observed(Kind.EXPORT_EVENTS, task.request.id, task.request.get("traceparent")):
            try:
                asyncio.run(_export(settings.stores, settings.lake, period))
            except (PenchantError, OSError) as error:
                log.warning("export_postponed", error=f"{type(error).__name__}: {error}")


async def _export(stores: Stores, lake: EventLake, period: str) -> None:
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=2) as pool:
        await export_day(pool, lake, period)
