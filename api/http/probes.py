"""How the stores and what waits in them are, asked when somebody looks, and not more often than every few seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, get_args

import structlog
from asyncpg import Pool
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.asyncio import Redis

from bus.publisher import Publisher, QueueState
from db.dead_events import DeadReason, count_dead
from db.jobs import Job, JobState, latest_jobs
from db.outbox import count_envelopes
from engine.catalogue.catalogue import Catalogue

log = structlog.get_logger()
Found = TypeVar("Found")

LIVES = 5.0  # seconds an answer is good for
PATIENCE = 1.0  # seconds a caller waits for one


class Question(Generic[Found]):
    """Something asked of a store: by one caller at a time, for all; None while the store does not answer."""

    def __init__(self, store: str, ask: Callable[[], Awaitable[Found]], *, lives: float = LIVES) -> None:
        self._store, self._ask, self._lives = store, ask, lives
        self._asking: asyncio.Task[Found | None] | None = None
        self._asked_at = float("-inf")

    async def answer(self) -> Found | None:
        """What the store says, at most `LIVES` seconds old. A caller waits for `PATIENCE`, the question goes on."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= self._lives):
            self._asked_at = now
            self._asking = asyncio.create_task(self._answered())
        done, _ = await asyncio.wait([self._asking], timeout=PATIENCE)
        return self._asking.result() if done else None

    def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()

    async def _answered(self) -> Found | None:
        try:
            return await self._ask()
        except Exception as error:  # any way of not answering is "down" here
            log.warning("store_did_not_say", store=self._store, error=repr(error))
            return None


class Vitals:
    """What one gateway process can tell of the whole: stores, queues, outbox, dead events, trainings."""

    def __init__(self, pool: Pool, redis: Redis, broker: Publisher, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._redis = Question("redis", redis.ping)
        self._outbox = Question("postgres", lambda: count_envelopes(pool))
        self._dead = Question("postgres", lambda: count_dead(pool))
        self._training = Question("postgres", lambda: latest_jobs(pool))
        self._broker = Question("broker", broker.queues)

    async def broker_answers(self) -> bool:
        """Whether the broker is there and has our queues."""
        return await self._broker.answer() is not None

    async def metrics(self) -> list[Metric]:
        """All of it for Prometheus; what a store does not say is left out."""
        redis, outbox, dead, training, queues = await asyncio.gather(
            self._redis.answer(),
            self._outbox.answer(),
            self._dead.answer(),
            self._training.answer(),
            self._broker.answer(),
        )
        up = {"postgres": outbox is not None, "redis": redis is not None, "broker": queues is not None}
        found = [
            _gauge("penchant_store_up", "1 while the store answers.", {(store,): up[store] for store in up}, "store"),
            _gauge("penchant_catalogue_items", "Items in the catalogue of the process.", {(): len(self._catalogue)}),
        ]
        if outbox is not None:
            found.append(_gauge("penchant_outbox_messages", "Batches waiting for the broker.", {(): outbox}))
        if dead is not None:
            found.append(_dead_events(dead))
        return [*found, *_queues(queues or []), *_trainings(training or [])]

    def close(self) -> None:
        """Stop asking."""
        for question in (self._redis, self._outbox, self._dead, self._training, self._broker):
            question.close()


def _dead_events(dead: Mapping[str, int]) -> Metric:
    """Every reason, also while nobody died of it: an alarm needs the zero before."""
    by_reason = {(reason.value,): dead.get(reason, 0) for reason in DeadReason}
    return _gauge("penchant_dead_events", "Dead events nobody has decided about.", by_reason, "reason")


def _queues(queues: Sequence[QueueState]) -> list[Metric]:
    return [
        _gauge(
            "penchant_queue_messages",
            "Messages that wait in the queue.",
            {(queue.name,): queue.messages for queue in queues},
            "queue",
        ),
        _gauge(
            "penchant_queue_consumers",
            "Workers that read the queue.",
            {(queue.name,): queue.consumers for queue in queues},
            "queue",
        ),
    ]


def _trainings(jobs: Sequence[Job]) -> list[Metric]:
    """`jobs` as `latest_jobs` gives them: of every kind the newest, and the newest that is over."""
    newest = {job.kind: job for job in jobs}
    over = [(job.kind, job.started_at, job.finished_at) for job in jobs]
    ended = {(kind,): end.timestamp() for kind, _, end in over if end}
    took = {(kind,): (end - start).total_seconds() for kind, start, end in over if start and end}
    states = {(kind, state): job.state == state for kind, job in newest.items() for state in get_args(JobState)}
    return [
        _gauge("penchant_training_last_job", "1 for the state of the newest training.", states, "kind", "state"),
        _gauge("penchant_training_last_finished_timestamp_seconds", "When the last training ended.", ended, "kind"),
        _gauge("penchant_training_last_duration_seconds", "How long it took.", took, "kind"),
    ]


def _gauge(name: str, words: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """`values` by tuples of the labels' values."""
    gauge = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        gauge.add_metric(key, float(value))
    return gauge
