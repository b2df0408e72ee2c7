"""Metrics for Prometheus: each with labels of few known values, and the text of them all.

Several processes behind one port share their numbers when `PROMETHEUS_MULTIPROC_DIR` names a folder of theirs, set
before this module is imported.
"""

import os
from collections.abc import Iterable
from typing import Final

import prometheus_client
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double what is scraped
_COUNTED: Final = CollectorRegistry()
_PROCESS: Final = CollectorRegistry()
ProcessCollector(registry=_PROCESS)

REQUESTS: Final = Histogram(
    "penchant_request_seconds",
    "Requests by GraphQL root field or path: ok, partial, refused (caller's error), failed (our error), gone (caller).",
    ("operation", "outcome"),
    buckets=_SECONDS,
    registry=_COUNTED,
)
ERRORS: Final = Counter(
    "penchant_errors", "Errors in GraphQL answers, by their public code.", ("code",), registry=_COUNTED
)
RATE_LIMITED: Final = Counter(
    "penchant_rate_limited",
    "Requests refused by a rate limit, by the name of the limit.",
    ("limit",),
    registry=_COUNTED,
)
DEGRADED: Final = Counter(
    "penchant_degraded", "Lists that were less than they could be, by reason.", ("reason",), registry=_COUNTED
)
DEPRECATED_USES: Final = Counter(
    "penchant_deprecated_uses",
    "Operations that used a deprecated part of the schema, by its coordinate.",
    ("part",),
    registry=_COUNTED,
)
KEPT: Final = Counter(
    "penchant_kept",
    "What a gateway had ready for an answer (hit) or computed (miss): states and evidence of people, and lists.",
    ("what", "outcome"),
    registry=_COUNTED,
)
EVENTS: Final = Counter(
    "penchant_events",
    "Events by outcome: the gateway's answers, and in the worker stored (new), known (stored before), dead, and"
    " erased (from before their person's erasure).",
    ("outcome",),
    registry=_COUNTED,
)
BATCHES: Final = Counter(
    "penchant_batches",
    "Batches of the gateway: confirmed by the broker, kept in the outbox, or lost (their senders must send again).",
    ("outcome",),
    registry=_COUNTED,
)
TASKS: Final = Histogram(
    "penchant_task_seconds",
    "Tasks of the workers: done, put back, failed.",
    ("task", "outcome"),
    buckets=_SECONDS,
    registry=_COUNTED,
)
PURGES: Final = Counter(
    "penchant_purges",
    "Attempts of the purge webhook: delivered or failed; and purges that are dead, which nobody sends again.",
    ("outcome",),
    registry=_COUNTED,
)
BUNDLE_GENERATION: Final = Gauge(
    "penchant_bundle_generation",
    "Generation of the serving row in use; with several processes, as the last one to check it reports.",
    registry=_COUNTED,
    multiprocess_mode="mostrecent",
)
BUNDLE_CREATED: Final = Gauge(
    "penchant_bundle_created_timestamp_seconds",
    "When the bundle in use was trained, 0 without one.",
    registry=_COUNTED,
    multiprocess_mode="mostrecent",
)
BUNDLE_REFUSED: Final = Gauge(
    "penchant_bundle_refused",
    "1 while the bundle that should serve is refused and the one before it still serves.",
    registry=_COUNTED,
    multiprocess_mode="mostrecent",
)


class FixedMetrics(Collector):
    """Metrics whose values were just read from the stores."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        return self._metrics


def _counted_metrics() -> CollectorRegistry:
    """The metrics of this process, or of all processes that share them."""
    if not os.environ.get(SHARED):
        return _COUNTED
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def all_metrics() -> CollectorRegistry:
    """All counted metrics, with the memory and time of this process."""
    registry = CollectorRegistry()
    for part in (_counted_metrics(), _PROCESS):
        registry.register(part)
    return registry


def exposition(metrics: Iterable[Metric] = ()) -> bytes:
    """All numbers in Prometheus' text format: counted ones, those of this process, and those just read."""
    given = CollectorRegistry()
    given.register(FixedMetrics(metrics))
    return b"".join(generate_latest(registry) for registry in (_counted_metrics(), _PROCESS, given))
