"""The task that stores a batch of events."""

import structlog
from celery import Celery, Task

from bus.topology import ATTEMPTS, STORE_EVENTS
from core.errors import PenchantError, StoreUnavailable
from engine.intake.attempts import attempts_of
from engine.intake.storing import CONFIRM, take
from workers.observation import observed
from workers.process import Loop

log = structlog.get_logger()


class TooMuch(PenchantError):
    """The batch did not fit into the memory."""


def register(app: Celery, loop: Loop) -> None:
    """Give the application its task; the stores are opened by the process that runs it."""

    @app.task(name=STORE_EVENTS, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def store_events(task: Task, batch: str) -> None:
        """Store a batch, as the JSON text `enqueue` wrote. Put back as a fresh message when Postgres stays away.

        A fresh message, because one that is returned counts towards the delivery limit of the queue.
        """
        attempts = attempts_of(task.request)
        with observed(STORE_EVENTS, task.request.id, task.request.get("traceparent")):
            try:
                loop.run(take(loop.memory, batch, attempts))
            except StoreUnavailable as error:
                log.warning("batch_put_back", error=str(error))
                headers = {"traceparent": task.request.get("traceparent"), ATTEMPTS: attempts - 1}
                raise task.retry(countdown=0, confirm_timeout=CONFIRM, headers=headers) from None
            except MemoryError:
                raise TooMuch from None  # Celery would end the whole worker
