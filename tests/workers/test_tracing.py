"""One trace from the mutation to the stored row: a gateway, a real broker, a real worker process, a real collector."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS
from bus.messages import store_events
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import read_event
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from tests.collector import Collector, running_collector
from tests.faults import Relay, eventually
from tests.fixtures.worker import StartWorker
from tests.in_process import Configured, asked

SECRET = "a-secret-of-the-client"
TRACK = "mutation($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"
EVENT = {"type": "VIEW", "userId": "u1", "itemId": "i1"}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that every process of this test sends its spans to."""
    with running_collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield collected


@pytest.fixture
async def http(stores: Stores, collected: Collector, pool: Pool, redis: Redis) -> AsyncIterator[Any]:
    """A gateway that traces, and its HTTP client with a token that may send events."""
    await create_client(pool, register("shop", SECRET, grants=[CLIENT_CREDENTIALS], scope="events:write"))
    async with asked(Configured(stores)) as client:
        form = {"grant_type": CLIENT_CREDENTIALS}
        granted = await client.post("/oauth/token", data=form, auth=("shop", SECRET))
        client.headers["authorization"] = f"Bearer {granted.json()['access_token']}"
        yield client


async def track(http: httpx.AsyncClient, trace: str) -> str:
    """Send an event in a trace of the caller; returns the id of the request."""
    body = {"query": TRACK, "variables": {"events": [EVENT]}}
    answer = await http.post("/graphql", json=body, headers={"traceparent": f"00-{trace}-{'1' * 16}-01"})
    assert answer.json() == {"data": {"trackEvents": {"accepted": 1}}}
    return answer.headers["x-request-id"]


async def test_one_trace_leads_from_the_mutation_to_the_stored_row(
    http: httpx.AsyncClient, collected: Collector, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    start_worker()
    trace = uuid4().hex
    request_id = await track(http, trace)
    way = ["POST /graphql", "mutation trackEvents", "publish events", "penchant.store_events", "INSERT events"]

    async def whole() -> bool:
        return set(way) <= set(collected.of(trace))

    await eventually(whole)
    spans = collected.of(trace)
    assert [spans[name].parent for name in way] == ["1" * 16, *(spans[name].id for name in way[:-1])]
    assert [spans[name].service for name in way] == ["penchant-gateway"] * 3 + ["penchant-worker"] * 2
    assert spans["POST /graphql"].attributes["penchant.request_id"] == request_id
    sent, taken = spans["publish events"].attributes, spans["penchant.store_events"].attributes
    assert sent["messaging.message.id"] == taken["messaging.message.id"]
    assert taken["penchant.outcome"] == "done"
    assert "u1" not in str(collected.spans)


async def test_calls_that_leave_in_one_batch_are_linked_to_it(http: httpx.AsyncClient, collected: Collector) -> None:
    traces = [uuid4().hex for _ in range(3)]
    await asyncio.gather(*(track(http, trace) for trace in traces))

    def batches() -> list[Any]:
        return [span for span in collected.spans if span.name == "publish events"]

    async def all_named() -> bool:
        return {name for span in batches() for name in (span.trace, *span.links)} == set(traces)

    await eventually(all_named)
    assert any(span.links for span in batches())


async def test_a_damaged_traceparent_begins_a_new_trace(http: httpx.AsyncClient, collected: Collector) -> None:
    for header in ("", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'a' * 31}-{'1' * 16}-01", "ÿ"):
        (await http.get("/healthz", headers={b"traceparent": header.encode("latin-1")})).raise_for_status()

    async def five() -> bool:
        return len([span for span in collected.spans if span.name == "GET /healthz"]) == 5

    await eventually(five)
    roots = [span for span in collected.spans if span.name == "GET /healthz"]
    assert len({span.trace for span in roots}) == 5
    assert {span.parent for span in roots} == {""}


async def test_a_batch_that_is_sent_again_stays_in_its_trace_and_its_log_lines_name_it(
    stores: Stores,
    collected: Collector,
    pool: Pool,
    channel: AbstractChannel,
    start_worker: StartWorker,
    worker_log: Path,
) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    start_worker(
        "import engine.intake.storing; engine.intake.storing.STORE_TIMEOUT = 0.1",
        PENCHANT_POSTGRES_URL=await relay.reserve(),
    )
    broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    from core import telemetry

    telemetry.start("test")
    with telemetry.entry("a test", "INTERNAL", None):
        trace = telemetry.trace_id() or ""
        event = read_event(EVENT, source="shop", received_at=None)
        envelope = store_events([event])
        await broker.publish(envelope)
    telemetry.stop()
    await broker.close()

    async def put_back_twice() -> bool:
        return worker_log.read_text().count("batch_sent_again") > 1  # noqa: ASYNC240 -- small and local

    await eventually(put_back_twice)
    await relay.open()

    async def stored() -> bool:
        return "INSERT events" in collected.of(trace)

    await eventually(stored)
    assert await pool.fetchval("SELECT count(*) FROM events") == 1
    lines = [json.loads(line) for line in worker_log.read_text().splitlines() if "batch_sent_again" in line]  # noqa: ASYNC240
    assert {(line["task_id"], line["trace_id"]) for line in lines} == {(str(envelope.id), trace)}
    await relay.close()
