"""`penchant worker`: stores the events of the queue and runs the periodic tasks."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.services.celery_worker import prepare_celery, run_worker
from cli.services.shared_metrics import shared_metrics
from cli.services.startup import read_settings
from core.errors import PenchantError, StoreUnavailable
from core.stores import log_unavailable

if TYPE_CHECKING:
    from core.settings import Watching


class PortTaken(PenchantError):
    """The port for the worker's metrics cannot be opened."""


def worker(
    processes: Annotated[int, typer.Option(min=1, help="How many processes store side by side.")] = 2,
) -> None:
    """Store events from the queue until SIGTERM (batches that have begun are finished)."""
    settings = read_settings("stores", "lists", "watching", "schedule", "lake", "bundles", "purges")
    prepare_celery()
    _make_partitions_ahead(settings.stores.postgres_url.get_secret_value())
    with _metrics_served(settings.watching):
        from workers.app import create_app

        run_worker(create_app(settings), processes)


@contextmanager
def _metrics_served(watching: "Watching") -> Iterator[None]:
    """Serve /metrics for all processes of this worker, which share their metrics. Raises PortTaken."""
    if watching.worker_metrics_port is None:
        yield
        return
    with shared_metrics():
        from celery import signals
        from prometheus_client import start_http_server

        from core.metrics import all_metrics

        try:
            server, _ = start_http_server(watching.worker_metrics_port, watching.worker_metrics_host, all_metrics())
        except OSError as error:
            raise PortTaken(
                f"PENCHANT_WORKER_METRICS_PORT {watching.worker_metrics_port}: {error.strerror}."
            ) from error

        def leave_to_parent(**_: object) -> None:
            server.socket.close()

        signals.worker_process_init.connect(leave_to_parent, weak=False)
        yield


def _make_partitions_ahead(url: str) -> None:
    """Make the partitions of the next months; a month that is missing is made when its first event is stored."""
    try:
        asyncio.run(_ensure_partitions(url))
    except StoreUnavailable as error:
        log_unavailable(error, doing="make partitions")


async def _ensure_partitions(url: str) -> None:
    from core import clock
    from db.events import MONTHS_AHEAD, ensure_partitions
    from db.postgres import connect_pool

    async with await connect_pool(url, size=1) as pool:
        await ensure_partitions(pool, clock.now(), clock.now() + MONTHS_AHEAD)
