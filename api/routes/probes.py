"""Probes: what the stores answer, read on demand and remembered for a few seconds, and the text of all metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar, cast

import structlog
from prometheus_client.core import Metric
from redis.asyncio import Redis

from api.routes.gauges import dead_event_gauge, gauge, purge_gauge, queue_gauges, training_gauges
from bus.publisher import Publisher
from core import metrics
from core.errors import StoreName, StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.dead_events import count_dead_events
from db.jobs import latest_jobs
from db.outbox import count_envelopes
from db.postgres import Pool
from db.purges import purge_backlog
from engine.catalogue.catalogue import Catalogue

log = structlog.get_logger()
Found = TypeVar("Found")

MAX_AGE = 5.0  # seconds an answer is used for
MAX_AGE_OF_READINESS = 1.0  # seconds, where /readyz tells a load balancer to send no more requests
MAX_AGE_OF_TEXT = 1.0  # seconds the text of all metrics is used for
DOWN: Final[Mapping[StoreName, str]] = {
    "postgres": "Postgres does not answer: tokens that were not seen before are refused, histories are missing.",
    "redis": "Redis does not answer: answers are slower, and events of the last moments may be missing.",
    "broker": "The broker does not answer or lacks our queues: events wait in the outbox.",
}
PROBE_TIMEOUT = 1.0  # seconds a caller waits for an answer


class Probe(Generic[Found]):
    """One value read from a store; concurrent callers share one read. None while the store does not answer."""

    def __init__(self, store: str, read: Callable[[], Awaitable[Found]], *, max_age: float = MAX_AGE) -> None:
        self._store, self._read, self._max_age = store, read, max_age
        self._reading = SingleFlight(self._run)
        self._read_at, self._found = float("-inf"), cast(Found | None, None)

    async def value(self) -> Found | None:
        """The value, at most `MAX_AGE` seconds old. A caller waits `PROBE_TIMEOUT`; the read goes on after that."""
        if asyncio.get_running_loop().time() - self._read_at < self._max_age:
            return self._found
        found = await self._reading.result_within(None, PROBE_TIMEOUT)
        return found[0] if found else None

    def close(self) -> None:
        """Cancel the read that is running."""
        self._reading.cancel()

    async def _run(self, _: None) -> Found | None:
        read_at = asyncio.get_running_loop().time()
        try:
            self._found = await self._read()
        except StoreUnavailable as error:
            log_unavailable(error, doing="probe a store")
            self._found = None
        except Exception:  # a bug must not take /metrics and /readyz with it
            log.exception("probe_failed", store=self._store)
            self._found = None
        self._read_at = read_at
        return self._found


class StoreProbes:
    """The probes of one gateway process: stores, queues, outboxes, dead events, trainings."""

    def __init__(
        self, pool: Pool, redis: Redis, broker: Publisher, catalogue: Catalogue, full: Mapping[StoreName, str]
    ) -> None:
        self._catalogue, self._full = catalogue, full
        self._postgres = Probe("postgres", lambda: pool.fetchval("SELECT 1"), max_age=MAX_AGE_OF_READINESS)
        self._redis = Probe("redis", redis.ping, max_age=MAX_AGE_OF_READINESS)
        self._outbox = Probe("postgres", lambda: count_envelopes(pool))
        self._dead = Probe("postgres", lambda: count_dead_events(pool))
        self._purges = Probe("postgres", lambda: purge_backlog(pool))
        self._training = Probe("postgres", lambda: latest_jobs(pool))
        self._broker = Probe("broker", broker.queues)
        self._writing = SingleFlight(self._write)
        self._text, self._written_at = b"", float("-inf")

    async def problems(self) -> dict[StoreName, tuple[str, str]]:
        """For each store that is not well: "down" or "full", and a sentence. The broker is well when it has our queues.

        Whether a store is full is checked by `Vitals`.
        """
        postgres, redis, queues = await asyncio.gather(
            self._postgres.value(), self._redis.value(), self._broker.value()
        )
        found: dict[StoreName, tuple[str, str]] = {store: ("full", reason) for store, reason in self._full.items()}
        answers: dict[StoreName, object] = {"postgres": postgres, "redis": redis, "broker": queues}
        down = [store for store, answer in answers.items() if answer is None]
        return found | {store: ("down", DOWN[store]) for store in down}

    async def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, at most `MAX_AGE_OF_TEXT` seconds old."""
        if asyncio.get_running_loop().time() - self._written_at < MAX_AGE_OF_TEXT:
            return self._text
        return await self._writing.result(None)

    def close(self) -> None:
        """Cancel the reads that are running."""
        self._writing.cancel()
        for probe in (
            self._postgres,
            self._redis,
            self._outbox,
            self._dead,
            self._purges,
            self._training,
            self._broker,
        ):
            probe.close()

    async def _write(self, _: None) -> bytes:
        self._text = metrics.exposition(await self._metrics())
        self._written_at = asyncio.get_running_loop().time()
        return self._text

    async def _metrics(self) -> list[Metric]:
        """All values as Prometheus metrics. Those of a store that does not answer are left out."""
        redis, outbox, dead, purges, training, queues = await asyncio.gather(
            self._redis.value(),
            self._outbox.value(),
            self._dead.value(),
            self._purges.value(),
            self._training.value(),
            self._broker.value(),
        )
        up = {("postgres",): outbox is not None, ("redis",): redis is not None, ("broker",): queues is not None}
        found = [
            gauge("penchant_store_up", "1 while the store answers.", up, "store"),
            gauge(
                "penchant_store_full",
                "1 while the store answers and takes no new data.",
                {(store,): store in self._full for store in DOWN},
                "store",
            ),
            gauge("penchant_catalogue_items", "Items in the catalogue of the process.", {(): len(self._catalogue)}),
        ]
        if outbox is not None:
            found.append(gauge("penchant_outbox_messages", "Batches waiting for the broker.", {(): outbox}))
        if dead is not None:
            found.append(dead_event_gauge(dead))
        if purges is not None:
            found.append(purge_gauge(purges))
        return [*found, *queue_gauges(queues or []), *training_gauges(training or [])]
