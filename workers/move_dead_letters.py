"""The task that moves dead letters from the broker to the dead events in Postgres."""

from contextlib import aclosing
from typing import Final

import structlog
from celery import Celery, Task

from bus.envelope import Kind
from bus.rabbitmq.dead_letters import read_dead_letters
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from engine.intake.dead_letters import move_dead_letters
from workers.observation import observed
from workers.process import Connections, WorkerProcess

log = structlog.get_logger()

MOST: Final = 500  # dead letters of one run
NAME_BEFORE: Final = "penchant.bury_letters"  # in messages of the release before


def register(app: Celery, process: WorkerProcess) -> None:
    """Add the task to the application."""

    @app.task(name=Kind.MOVE_DEAD_LETTERS, bind=True)  # type: ignore[untyped-decorator]
    def move(task: Task) -> None:
        """Move the dead letters that wait; while a store is away, they stay in the broker."""
        with observed(Kind.MOVE_DEAD_LETTERS, task.request.id, task.request.get("traceparent")):
            try:
                process.run(_move(process.connections))
            except StoreUnavailable as error:
                log_unavailable(error, doing="move dead letters")

    app.tasks[NAME_BEFORE] = move


async def _move(connections: Connections) -> None:
    pool = await connections.pool()
    # Check Postgres first: a dead letter that is received and returned counts as delivered.
    await pool.execute("SELECT FROM dead_events LIMIT 1")
    async with aclosing(read_dead_letters(connections.broker_url, MOST)) as dead_letters:
        moved = await move_dead_letters(pool, dead_letters)
    log.info("dead_letters_moved", count=moved)
