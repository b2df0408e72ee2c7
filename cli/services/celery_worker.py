"""How a Celery worker of ours runs: with our logs, our traces, and processes of its own."""

import logging
import os
import signal
import warnings
from contextlib import suppress
from typing import Any


def prepare_celery() -> None:
    """Keep Celery from touching our logs, and trace in every process it forks. Call it before `run_worker`."""
    from celery import signals
    from celery.exceptions import SecurityWarning

    warnings.simplefilter("ignore", SecurityWarning)  # about root and pickle; we accept JSON only
    signals.setup_logging.connect(_keep_our_logs, weak=False)
    signals.worker_process_init.connect(_start_tracing, weak=False)
    signals.worker_process_shutdown.connect(_stop_tracing, weak=False)


def run_worker(app: Any, processes: int) -> None:
    """Run the application's tasks in so many processes until SIGTERM; tasks that have begun are finished."""
    concurrency = ["--pool=prefork", f"--concurrency={processes}"]
    app.worker_main(["--quiet", "worker", *concurrency, "--without-gossip", "--without-mingle"])


def stop_trainings_with_worker() -> None:
    """Stop a training that has begun when the worker is told to end, even if the signal reaches the worker alone."""
    from celery import signals

    signals.worker_shutting_down.connect(_interrupt_children, weak=False)


def _interrupt_children(**_: object) -> None:
    """Celery's processes ignore SIGINT; only a training listens to it. An export is finished."""
    from billiard import active_children  # type: ignore[import-untyped]  # it ships no types

    from workers.train import mark_stopping

    mark_stopping()  # before the signal: a child that begins now sees either this or the signal
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGINT)


def _keep_our_logs(**_: object) -> None:
    """Celery sets up no logging when its signal has a receiver; its line per task would double the work."""
    from workers.broker_errors import keep_tracebacks_of_broker_out

    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    keep_tracebacks_of_broker_out()


def _start_tracing(**_: object) -> None:
    """Called after the fork: the thread that sends spans does not survive one."""
    from core import telemetry

    telemetry.start("worker")


def _stop_tracing(**_: object) -> None:
    """Send the remaining spans before the process ends."""
    from core import telemetry

    telemetry.stop()
