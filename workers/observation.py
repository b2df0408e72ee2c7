"""Observes a task: its duration and outcome, its span in the trace of its message, its id in every log line."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import structlog
from celery.exceptions import Retry

from core import metrics, telemetry


@contextmanager
def observed(task: str, task_id: str, traceparent: str | None) -> Iterator[None]:
    """Around all the work of a task. `traceparent` is the header of its message."""
    outcome, started = "failed", perf_counter()
    with (
        structlog.contextvars.bound_contextvars(task_id=task_id),
        telemetry.entry(
            task, "CONSUMER", traceparent, messaging__system="rabbitmq", messaging__message__id=task_id
        ) as span,
    ):
        try:
            yield
            outcome = "done"
        except Retry:
            outcome = "put_back"
            raise
        finally:
            metrics.TASKS.labels(task, outcome).observe(perf_counter() - started)
            if span is not None:
                span.set_attribute("penchant.outcome", outcome)
