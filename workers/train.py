"""The task that carries out the oldest waiting training or refresh, writes lists, or mirrors models in MLflow."""

import asyncio
import mmap

import structlog
from celery import Celery, Task
from celery.signals import worker_ready

from bus.envelope import Kind
from bus.messages import train as train_message
from bus.rabbitmq.publisher import RabbitPublisher
from core.errors import PenchantError, StoreUnavailable
from core.settings import Settings, Stores
from core.stores import log_unavailable
from db.jobs import REFRESH, TRAININGS
from db.list_jobs import LISTS
from db.mlflow_mirror import MIRROR
from engine.jobs.bounds import Bounds
from engine.jobs.leases import TrainingStopped
from engine.many_lists.list_jobs import write_waiting_lists
from engine.models.refreshing import refresh_waiting
from engine.models.training import assumed_by, train_waiting
from engine.registry.mirroring import mirror_waiting
from workers.observation import observed
from workers.process import CONFIRM_TIMEOUT

log = structlog.get_logger()

_stopping = mmap.mmap(-1, 1)  # shared with the processes that are forked later: 1 once the trainer is told to end


def mark_stopping() -> None:
    """No training begins in this trainer any more, not even one whose message it has already."""
    _stopping[0] = 1


def _is_stopping() -> bool:
    return _stopping[0] == 1


def register(app: Celery, settings: Settings) -> None:
    """Add the task to the application. Only the process that runs it imports TensorFlow, which a fork would break."""

    @app.task(name=Kind.TRAIN, bind=True, acks_late=False)  # type: ignore[untyped-decorator]
    def train(task: Task, kind: str) -> None:
        """Carry out the oldest waiting job of this kind, if there is one."""
        with observed(Kind.TRAIN, task.request.id, task.request.get("traceparent")):
            try:
                asyncio.run(_carry_out(settings, kind))
            except (PenchantError, OSError) as error:
                log.warning("job_failed", kind=kind, error=f"{type(error).__name__}: {error}")


def notify_at_start(stores: Stores) -> None:
    """Once this trainer takes messages, send it some: a job may wait whose message another trainer lost at its end."""

    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def notify(**_: object) -> None:
        asyncio.run(_notify_next(stores, *TRAININGS))


async def _carry_out(settings: Settings, kind: str) -> None:
    stores, lake = settings.stores, settings.lake
    try:
        if kind == MIRROR:
            await mirror_waiting(stores)
            return
        if kind == LISTS:
            await write_waiting_lists(stores, settings.lists, stopping=_is_stopping)
            return
        url = lake.lake_url if lake.lake_training else None
        assumed = assumed_by(settings.trainings)
        if kind != REFRESH:
            bounds = Bounds.of(settings.trainings)
            await train_waiting(
                stores, kind, url, settings.bundles, bounds=bounds, stopping=_is_stopping, assumed=assumed
            )
        await refresh_waiting(stores, url, stopping=_is_stopping, assumed=assumed)
        await mirror_waiting(stores)
    except TrainingStopped:
        log.info("training_stopped", kind=kind)
        await _notify_next(stores, kind)


async def _notify_next(stores: Stores, *kinds: str) -> None:
    """Send the messages again that this trainer has taken: the next trainer starts with them."""
    publisher = RabbitPublisher(stores.broker_url.get_secret_value(), CONFIRM_TIMEOUT)
    try:
        for kind in kinds:
            await publisher.publish(train_message(kind))
    except StoreUnavailable as error:  # the periodic task sends it later
        log_unavailable(error, doing="notify the next trainer")
    finally:
        await publisher.close()
