"""The task that carries out the oldest waiting training."""

import asyncio

import structlog
from celery import Celery, Task

from bus.topology import TRAIN
from core.errors import PenchantError
from core.settings import EventLake, Stores
from engine.models.training import train_waiting
from workers.observation import observed

log = structlog.get_logger()


def register(app: Celery, stores: Stores, lake: EventLake) -> None:
    """Give the application its task. TensorFlow is imported by the process that runs it: it does not survive a fork."""

    @app.task(name=TRAIN, bind=True, acks_late=False)  # type: ignore[untyped-decorator]
    def train_next(task: Task, kind: str) -> None:
        """Carry out the oldest training of this kind that waits, if there is one."""
        with observed(TRAIN, task.request.id, task.request.get("traceparent")):
            try:
                asyncio.run(train_waiting(stores, kind, lake.lake_url if lake.lake_training else None))
            except (PenchantError, OSError) as error:
                log.warning("training_failed", error=f"{type(error).__name__}: {error}")
