"""`penchant worker`: stores what the queue brings."""

import asyncio
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from cli.numbers import shared_numbers
from core.errors import PenchantError

if TYPE_CHECKING:
    from core.settings import Watching

log = structlog.get_logger()


class PortTaken(PenchantError):
    """The port for the worker's metrics cannot be opened."""


def worker(
    processes: Annotated[int, typer.Option(min=1, help="Processes that store side by side.")] = 2,
) -> None:
    """Store events from the queue until it is told to stop (SIGTERM: finish what was begun)."""
    from celery import signals
    from celery.exceptions import SecurityWarning

    from core.logs import configure_logs
    from core.settings import Settings

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    warnings.simplefilter("ignore", SecurityWarning)  # of root and pickle; we take JSON only
    signals.setup_logging.connect(keep_our_logs, weak=False)
    signals.worker_process_init.connect(trace, weak=False)
    signals.worker_process_shutdown.connect(trace_no_more, weak=False)
    _make_months_ahead(settings.stores.postgres_url.get_secret_value())
    with _metrics_served(settings.watching):
        from workers.app import create_app

        create_app(settings).worker_main(
            [
                "--quiet",
                "worker",
                "--pool=prefork",
                f"--concurrency={processes}",
                "--without-gossip",
                "--without-mingle",
            ]
        )


@contextmanager
def _metrics_served(watching: "Watching") -> Iterator[None]:
    """/metrics of all processes of this worker, whose numbers meet in a folder. Raises PortTaken."""
    if watching.worker_metrics_port is None:
        yield
        return
    with shared_numbers():
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


def trace(**_: object) -> None:
    """After the fork: the thread that sends spans does not survive one."""
    from core import telemetry

    telemetry.start("worker")


def trace_no_more(**_: object) -> None:
    """Send what is left before the process ends."""
    from core import telemetry

    telemetry.stop()


def _make_months_ahead(url: str) -> None:
    """Partitions for what comes next; a month that is missing after all is made when its first event comes."""
    from core.errors import StoreUnavailable

    try:
        asyncio.run(_ensure_partitions(url))
    except StoreUnavailable as error:
        log.warning("partitions_not_made", error=str(error))


async def _ensure_partitions(url: str) -> None:
    from core import clock
    from db.events import MONTHS_AHEAD, ensure_partitions
    from db.postgres import connect_pool

    async with await connect_pool(url, size=1) as pool:
        await ensure_partitions(pool, clock.now(), clock.now() + MONTHS_AHEAD)


def keep_our_logs(**_: object) -> None:
    """Celery leaves logging alone when somebody answers its signal; its line per task would double the work."""
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
