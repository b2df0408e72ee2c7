"""The task that moves dead letters from the broker to the dead events in Postgres."""

import structlog
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from celery import Celery, Task

from bus.topology import BURY_LETTERS
from core.errors import StoreUnavailable
from engine.dead_events.dead_letters import move_letters
from workers.observation import observed
from workers.process import Loop

log = structlog.get_logger()


def register(app: Celery, loop: Loop) -> None:
    """Give the application its task."""

    @app.task(name=BURY_LETTERS, bind=True)  # type: ignore[untyped-decorator]
    def bury_letters(task: Task) -> None:
        """Move what waits among the dead letters; while a store is away, it goes on waiting there."""
        with observed(BURY_LETTERS, task.request.id, task.request.get("traceparent")):
            try:
                loop.run(_move(loop))
            except (StoreUnavailable, TimeoutError, *CONNECTION_EXCEPTIONS) as error:
                log.warning("letters_wait", error=f"{type(error).__name__}: {error}")


async def _move(loop: Loop) -> None:
    pool = await loop.memory.pool()
    await pool.execute("SELECT FROM dead_events LIMIT 1")  # a letter that is taken and given back counts as delivered
    moved = await move_letters(pool, loop.stores.broker_url.get_secret_value())
    log.info("letters_buried", letters=moved)
