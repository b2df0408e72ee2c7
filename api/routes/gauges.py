"""What the probes read, as Prometheus gauges."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from bus.publisher import QueueState
from db.dead_events import DeadReason
from db.jobs import Job, JobState
from db.purges import PurgeBacklog


def gauge(name: str, description: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """One gauge. The keys of `values` are tuples of label values."""
    family = GaugeMetricFamily(name, description, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def dead_event_gauge(counts: Mapping[str, int]) -> Metric:
    """Dead events by reason. A reason without any is 0 and not left out: an alert needs the zero before."""
    by_reason = {(reason.value,): counts.get(reason, 0) for reason in DeadReason}
    return gauge("penchant_dead_events", "Dead events neither replayed nor discarded.", by_reason, "reason")


def purge_gauge(backlog: PurgeBacklog) -> Metric:
    """The outbox of the purge webhook."""
    counts = {("waiting",): backlog.waiting, ("dead",): backlog.dead}
    return gauge("penchant_purge_outbox", "Purges that wait, and those that are dead, for a day.", counts, "state")


def queue_gauges(queues: Sequence[QueueState]) -> list[Metric]:
    """Messages and consumers of each queue."""
    messages = {(queue.name,): queue.messages for queue in queues}
    consumers = {(queue.name,): queue.consumers for queue in queues}
    return [
        gauge("penchant_queue_messages", "Messages that wait in the queue.", messages, "queue"),
        gauge("penchant_queue_consumers", "Workers that read the queue.", consumers, "queue"),
    ]


def training_gauges(jobs: Sequence[Job]) -> list[Metric]:
    """The newest training of each kind, and the newest finished one. `jobs` as `latest_jobs` returns them."""
    newest = {job.kind: job for job in jobs}
    times = [(job.kind, job.started_at, job.finished_at) for job in jobs]
    finished = {(kind,): end.timestamp() for kind, _, end in times if end}
    durations = {(kind,): (end - start).total_seconds() for kind, start, end in times if start and end}
    states = {(kind, state): job.state == state for kind, job in newest.items() for state in get_args(JobState)}
    return [
        gauge("penchant_training_last_job", "1 for the state of the newest training.", states, "kind", "state"),
        gauge("penchant_training_last_finished_timestamp_seconds", "When the last training ended.", finished, "kind"),
        gauge("penchant_training_last_duration_seconds", "How long the last training took.", durations, "kind"),
    ]
