"""The task that stores a batch of events."""

import structlog
from celery import Celery, Task

from bus.envelope import Kind
from bus.rabbitmq.celery_message import ATTEMPTS_HEADER, attempts_of
from core.errors import PenchantError, StoreUnavailable
from engine.intake.storing import store_batch
from workers.observation import observed
from workers.process import CONFIRM_TIMEOUT, Connections, WorkerProcess

log = structlog.get_logger()


class BatchTooLarge(PenchantError):
    """The batch did not fit into memory."""


def register(app: Celery, process: WorkerProcess) -> None:
    """Add the task to the application."""

    @app.task(name=Kind.STORE_EVENTS, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def store_events(task: Task, batch: str) -> None:
        """Store a batch, a JSON array of events. While Postgres is away, send it again as a new message.

        A new message, because one that is returned to its queue counts towards the queue's delivery limit.
        """
        attempts = attempts_of(task.request)
        with observed(Kind.STORE_EVENTS, task.request.id, task.request.get("traceparent")):
            try:
                process.run(_store(process.connections, batch, attempts))
            except StoreUnavailable as error:
                log.warning("batch_sent_again", error=str(error))
                headers = {"traceparent": task.request.get("traceparent"), ATTEMPTS_HEADER: attempts - 1}
                raise task.retry(countdown=0, confirm_timeout=CONFIRM_TIMEOUT, headers=headers) from None
            except MemoryError:
                raise BatchTooLarge from None  # on a MemoryError Celery ends the whole worker


async def _store(connections: Connections, batch: str, attempts: int) -> None:
    async with connections.publisher() as publisher:
        await store_batch(connections, publisher, batch, attempts)
