"""`penchant worker`: stores what the queue brings."""

import asyncio
import logging
import warnings
from datetime import timedelta
from typing import Annotated

import structlog
import typer

log = structlog.get_logger()


def worker(
    processes: Annotated[int, typer.Option(min=1, help="Processes that store side by side.")] = 2,
) -> None:
    """Store events from the queue until it is told to stop (SIGTERM: finish what was begun)."""
    from celery import signals
    from celery.exceptions import SecurityWarning

    from core.logs import configure_logs
    from core.settings import Settings
    from workers.app import create_app

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    warnings.simplefilter("ignore", SecurityWarning)  # of root and pickle; we take JSON only
    signals.setup_logging.connect(_keep_our_logs, weak=False)
    _make_months_ahead(settings.stores.postgres_url.get_secret_value())
    create_app(settings).worker_main(
        ["--quiet", "worker", "--pool=prefork", f"--concurrency={processes}", "--without-gossip", "--without-mingle"]
    )


def _make_months_ahead(url: str) -> None:
    """Partitions for what comes next; a month that is missing after all is made when its first event comes."""
    from core.errors import StoreUnavailable

    try:
        asyncio.run(_ensure_partitions(url))
    except StoreUnavailable as error:
        log.warning("partitions_not_made", error=str(error))


async def _ensure_partitions(url: str) -> None:
    from core import clock
    from db.events import ensure_partitions
    from db.postgres import connect_pool

    async with await connect_pool(url, size=1) as pool:
        await ensure_partitions(pool, clock.now(), clock.now() + timedelta(days=62))


def _keep_our_logs(**_: object) -> None:
    """Celery leaves logging alone when somebody answers its signal; its line per task would double the work."""
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
