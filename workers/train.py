"""The task that carries out the oldest waiting training."""

import asyncio

import structlog
from celery import Celery, Task

from bus.envelope import Kind
from core.errors import PenchantError
from core.settings import EventLake, Stores
from engine.models.training import train_waiting
from workers.observation import observed

log = structlog.get_logger()


def register(app: Celery, stores: Stores, lake: EventLake) -> None:
    """Add the task to the application. Only the process that runs it imports TensorFlow, which a fork would break."""

    @app.task(name=Kind.TRAIN, bind=True, acks_late=False)  # type: ignore[untyped-decorator]
    def train(task: Task, kind: str) -> None:
        """Carry out the oldest waiting training of this kind, if there is one."""
        with observed(Kind.TRAIN, task.request.id, task.request.get("traceparent")):
            try:
                asyncio.run(train_waiting(stores, kind, lake.lake_url if lake.lake_training else None))
            except (PenchantError, OSError) as error:
                log.warning("training_failed", error=f"{type(error).__name__}: {error}")
