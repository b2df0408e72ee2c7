"""The task that sends due purges to the receiver of the webhook."""

from datetime import timedelta

from celery import Celery, Task

from bus.envelope import Kind
from bus.webhook import Webhook
from core.errors import StoreUnavailable
from core.purge_settings import Purges
from core.stores import log_unavailable
from engine.catalogue.purging import add_due_purges, send_due_purges
from workers.observation import observed
from workers.process import Connections, WorkerProcess


def register(app: Celery, process: WorkerProcess, purges: Purges) -> None:
    """Add the task to the application. `purges` has a URL and a secret."""
    assert purges.purge_url is not None
    url, keys, delay = purges.purge_url.get_secret_value(), purges.keys, timedelta(seconds=purges.purge_delay)

    @app.task(name=Kind.SEND_PURGES, bind=True)  # type: ignore[untyped-decorator]
    def send(task: Task) -> None:
        """Make purges of what changed, and send those that are due."""
        with observed(Kind.SEND_PURGES, task.request.id, task.request.get("traceparent")):
            try:
                process.run(_send(process.connections, url, keys, delay))
            except StoreUnavailable as error:
                log_unavailable(error, doing="send purges")


async def _send(connections: Connections, url: str, keys: tuple[bytes, ...], delay: timedelta) -> None:
    pool = await connections.pool()
    await add_due_purges(pool, delay)
    await send_due_purges(pool, Webhook(connections.webhooks, url, keys))
