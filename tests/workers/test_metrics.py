"""The metrics of a worker: of all its processes, on a port of its own."""

import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

from aio_pika.abc import AbstractChannel
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from bus.envelope import Envelope, Kind
from bus.messages import as_received, store_events
from bus.rabbitmq.celery_message import body_of
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import Event, read_event
from core.settings import Stores
from db.postgres import Pool
from tests.faults import eventually
from tests.fixtures.worker import StartWorker
from tests.running import reserved_port

Numbers = dict[tuple[str, ...], float]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def make_event(**fields: Any) -> Event:
    return read_event({"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}, source="shop", received_at=None)


def scrape(port: int) -> Numbers:
    """The metrics of the worker; empty while it does not listen yet."""
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


async def test_events_and_tasks_are_counted_over_all_processes(
    broker: RabbitPublisher, pool: Pool, redis: Redis, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    with reserved_port() as port:
        start_worker(PENCHANT_WORKER_METRICS_PORT=str(port))
        events = [make_event() for _ in range(3)]
        await broker.publish(store_events(events))
        await broker.publish(store_events([*events, make_event()]))
        done = ("penchant_task_seconds_count", "done", Kind.STORE_EVENTS)

        async def both() -> bool:
            return scrape(port).get(done) == 2

        await eventually(both)
    numbers = scrape(port)
    assert numbers["penchant_events_total", "stored"] == 4
    assert numbers["penchant_events_total", "known"] == 3
    assert numbers[("process_resident_memory_bytes",)] > 10_000_000


async def test_a_worker_carries_out_the_periodic_messages_of_the_release_before(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    with reserved_port() as port:
        start_worker(PENCHANT_WORKER_METRICS_PORT=str(port))
        for name in ("penchant.look_around", "penchant.bury_letters"):
            await broker.publish(as_received(name, body_of(Envelope(kind=Kind.PERIODIC)), uuid4()))

        async def both() -> bool:
            kinds = (Kind.PERIODIC, Kind.MOVE_DEAD_LETTERS)
            return all(scrape(port).get(("penchant_task_seconds_count", "done", kind)) for kind in kinds)

        await eventually(both)


async def test_a_port_in_use_ends_the_worker_with_an_error_that_names_it(
    stores: Stores, start_worker: StartWorker, worker_log: Path
) -> None:
    taken = stores.postgres_url.get_secret_value().rpartition("@")[2].partition("/")[0].partition(":")[2]
    worker = start_worker(PENCHANT_WORKER_METRICS_PORT=taken)
    assert worker.wait(60) == 1
    assert f"PENCHANT_WORKER_METRICS_PORT {taken}" in worker_log.read_text()  # noqa: ASYNC240 -- small and local
