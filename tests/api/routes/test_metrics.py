"""/metrics reports on the gateway, its stores, queues and trainings, to those with access."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from api.app import create_app
from api.http.server import DRAINING
from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS
from api.routes import probes
from bus.rabbitmq import topology
from core import clock, metrics
from core.settings import Gateway, Settings, Stores, Watching
from db.clients import create_client
from db.dead_events import DeadReason, insert_dead_events
from db.jobs import fail_job, lease_job, request_job
from db.postgres import Pool
from db.purges import add_purges
from db.serving import Model, promote, register_model
from engine.dead_events.records import of_message
from engine.scopes import SCOPES
from tests.faults import Relay, eventually

BASE, SECRET, TOKEN = "http://shop.example", "a-secret-of-the-client", "a-token-for-prometheus"
TRACK = "mutation($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"
LIST = 'query { user(id: "u1") { recommendations(first: 3) { degraded } } }'
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "penchant.json"
DOCUMENT = Path(__file__).parents[3] / "docs" / "watching.md"
PASSED_ON = """
    forwarded x-forwarded-for x-forwarded-host via cdn-loop client-ip x-real-ip x-client-ip x-cluster-client-ip
    x-remote-addr true-client-ip cf-connecting-ip fastly-client-ip fly-client-ip x-envoy-external-address
""".split()  # headers that proxies add
Numbers = dict[tuple[str, ...], float]


class Configured(Settings):
    """Settings over this worker's stores."""

    def __init__(self, stores: Stores, token: str | None = None, **gateway: Any) -> None:
        self.stores = stores
        self.gateway = Gateway.model_validate({"public_url": BASE, "secret": "s" * 32} | gateway)
        self.watching = Watching.model_validate({"metrics_token": token})


class Served:
    """A gateway without a socket, called from any address."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.state: Any = {}
        self.local = self.client("127.0.0.1")

    def client(self, address: str, base_url: str = BASE) -> httpx.AsyncClient:
        """A client at that address."""

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(self.state)
            await self.app(scope, receive, send)

        return httpx.AsyncClient(transport=httpx.ASGITransport(with_state, client=(address, 1)), base_url=base_url)

    async def scrape(self) -> Numbers:
        """Every value, by name and label values."""
        answer = await self.local.get("/metrics")
        assert answer.status_code == 200, answer.text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    async def ask(self, query: str, **variables: Any) -> httpx.Response:
        """A GraphQL request."""
        return await self.local.post("/graphql", json={"query": query, "variables": variables})


@pytest.fixture
async def served(stores: Stores, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A gateway whose metrics are always new, and a client of it with every scope."""
    monkeypatch.setattr(probes, "MAX_AGE_OF_TEXT", 0.0)
    topology.declare(stores.broker_url.get_secret_value())
    async with await aio_pika.connect(stores.broker_url.get_secret_value()) as connection:
        channel = await connection.channel()
        for name in (topology.EVENTS.name, topology.DEAD_LETTERS.name):
            await (await channel.get_queue(name)).purge()
    served = Served(Configured(stores))
    async with served.app.router.lifespan_context(served.app) as served.state:
        await create_client(pool, register("shop", SECRET, grants=[CLIENT_CREDENTIALS], scope=" ".join(SCOPES)))
        form = {"grant_type": CLIENT_CREDENTIALS}
        granted = await served.local.post("/oauth/token", data=form, auth=("shop", SECRET))
        served.local.headers["authorization"] = f"Bearer {granted.json()['access_token']}"
        yield served


async def changes(served: Served, before: Numbers) -> Numbers:
    """By how much the counters and the counts of histograms grew."""
    after = await served.scrape()
    return {
        key: value - before.get(key, 0)
        for key, value in after.items()
        if re.search("_total$|_count$", key[0]) and value != before.get(key, 0) and key[0].startswith("penchant")
    }


async def test_requests_are_counted_by_operation_and_outcome(served: Served) -> None:
    before = await served.scrape()
    await served.ask(LIST)
    await served.ask('{ user(id: "u1") { id } a: models(first: 1) { nodes { id } } }')
    await served.ask('{ user(id: "") { id } }')
    await served.ask("{ nothing }")
    await served.local.get("/nowhere/at/all")
    await served.client("127.0.0.1").post("/graphql", json={"query": LIST})
    moved = await changes(served, before)
    requests = {key[1:]: count for key, count in moved.items() if key[0] == "penchant_request_seconds_count"}
    assert requests == {
        ("user.recommendations", "ok"): 1,
        ("several", "ok"): 1,
        ("user", "refused"): 1,
        ("/graphql", "refused"): 2,
        ("other", "refused"): 1,
        ("/metrics", "ok"): 1,
    }
    errors = {key[1]: count for key, count in moved.items() if key[0] == "penchant_errors_total"}
    assert errors == {"BAD_USER_INPUT": 1, "GRAPHQL_VALIDATION_FAILED": 1, "UNAUTHENTICATED": 1}


async def test_events_and_degraded_lists_are_counted_by_outcome(served: Served) -> None:
    before = await served.scrape()
    event = {"type": "VIEW", "userId": "u1", "itemId": "i1", "id": "e1", "occurredAt": "2026-01-01T00:00:00Z"}
    await served.ask(TRACK, events=[event, event, {**event, "itemId": "i2"}, {**event, "itemId": ""}])
    await served.ask(LIST)
    moved = await changes(served, before)
    events = {key[1]: count for key, count in moved.items() if key[0] == "penchant_events_total"}
    assert events == {"accepted": 1, "duplicate": 1, "conflict": 1, "rejected": 1}
    assert moved["penchant_batches_total", "confirmed"] == 1
    assert moved["penchant_degraded_total", "NO_MODEL"] == 1
    assert (await served.scrape())["penchant_queue_messages", topology.EVENTS.name] >= 0


async def test_queues_outbox_dead_events_and_trainings_are_reported(served: Served, pool: Pool) -> None:
    await request_job(pool, "main", "a test", "ada")
    job = await lease_job(pool, "main")
    assert job is not None
    await fail_job(pool, job, "no data")
    await request_job(pool, "main", "again", "ada")
    await insert_dead_events(pool, [of_message(b"?", None, DeadReason.UNREADABLE, "a test says so")])
    for key in ("waits", "died", "died"):
        await add_purges(pool, [(uuid4(), [key])], timedelta(0))
    await pool.execute("UPDATE purges SET dead_at = CASE WHEN keys = '{died}' THEN now() END")
    numbers = await served.scrape()
    for store in ("postgres", "redis", "broker"):
        assert (numbers["penchant_store_up", store], numbers["penchant_store_full", store]) == (1, 0)
    assert numbers["penchant_queue_messages", topology.DEAD_LETTERS.name] == 0
    assert numbers["penchant_queue_consumers", topology.EVENTS.name] == 0
    assert numbers[("penchant_outbox_messages",)] == 0
    assert [numbers["penchant_purge_outbox", state] for state in ("waiting", "dead")] == [1, 2]
    assert numbers["penchant_dead_events", "UNREADABLE"] == 1
    assert numbers["penchant_dead_events", "CONFLICT"] == 0
    assert numbers["penchant_training_last_job", "main", "QUEUED"] == 1
    assert numbers["penchant_training_last_job", "main", "FAILED"] == 0
    assert 0 <= numbers["penchant_training_last_duration_seconds", "main"] < 60
    assert numbers[("process_resident_memory_bytes",)] > 10_000_000


async def test_a_refused_bundle_is_reported(served: Served, pool: Pool) -> None:
    await register_model(pool, Model("never-written", "main", clock.now(), "digest", {}, None))
    await promote(pool, "never-written", "a test says so", {}, "test")

    async def refused() -> bool:
        return (await served.scrape())[("penchant_bundle_refused",)] == 1

    await eventually(refused)
    ready = await served.local.get("/readyz")
    assert (ready.status_code, ready.json()["bundle"], ready.json()["bundleRefused"]) == (200, None, True)


async def test_stores_that_are_away_are_reported_at_once(stores: Stores, pool: Pool) -> None:
    away = {"redis_url": SecretStr("redis://127.0.0.1:1/0"), "broker_url": SecretStr("amqp://127.0.0.1:1/x")}
    served = Served(Configured(stores.model_copy(update=away)))
    async with served.app.router.lifespan_context(served.app) as served.state:
        numbers = await served.scrape()
        ready = (await served.local.get("/readyz")).json()
    assert [numbers["penchant_store_up", store] for store in ("postgres", "redis", "broker")] == [1, 0, 0]
    assert not any(key[0] == "penchant_queue_messages" for key in numbers)
    assert (ready["status"], ready["postgres"], ready["redis"], ready["broker"]) == ("ready", "ok", "down", "down")


async def test_a_gateway_without_postgres_stays_ready_and_says_so(stores: Stores, pool: Pool) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    served = Served(Configured(stores.model_copy(update={"postgres_url": SecretStr(await relay.open())})))
    async with served.app.router.lifespan_context(served.app) as served.state:
        await relay.close()

        async def is_reported() -> bool:
            ready = await served.local.get("/readyz")
            assert ready.status_code == 200
            return bool(ready.json()["postgres"] == "down")

        await eventually(is_reported)
        (problem,) = (await served.local.get("/readyz")).json()["problems"]
        assert problem.startswith("Postgres does not answer")


async def test_a_gateway_that_stops_is_not_ready(served: Served) -> None:
    served.state = {**served.state, DRAINING: True}
    ready = await served.local.get("/readyz")
    assert (ready.status_code, ready.json()["status"], ready.headers["retry-after"]) == (503, "stopping", "1")


async def test_without_a_token_only_this_machine_is_answered(served: Served) -> None:
    assert (await served.client("127.0.0.1").get("/metrics")).status_code == 200
    assert (await served.client("::1").get("/metrics")).status_code == 200
    for address in ("10.1.2.3", "not-an-address"):
        refused = await served.client(address).get("/metrics")
        assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
    for header in PASSED_ON:
        forwarded = await served.client("127.0.0.1").get("/metrics", headers={header: "10.1.2.3"})
        assert forwarded.status_code == 403, header


async def test_with_a_token_every_caller_needs_it(stores: Stores, pool: Pool) -> None:
    served = Served(Configured(stores, TOKEN))
    async with served.app.router.lifespan_context(served.app) as served.state:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            refused = await served.local.get("/metrics", headers=header)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        far = await served.client("10.1.2.3").get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert far.status_code == 200


async def test_a_thousand_callers_at_once_cost_one_read_and_one_text(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, questions = 0, 0
    exposition, fetchval = metrics.exposition, served.state["gateway"].pool.fetchval

    def counted(*given: Any) -> bytes:
        nonlocal texts
        texts += 1
        return exposition(*given)

    async def asked(statement: str) -> Any:
        nonlocal questions
        questions += statement == "SELECT 1"
        return await fetchval(statement)

    monkeypatch.setattr(probes, "MAX_AGE_OF_TEXT", 60.0)
    monkeypatch.setattr(metrics, "exposition", counted)
    monkeypatch.setattr(served.state["probes"]._postgres, "_max_age", 60.0)
    monkeypatch.setattr(served.state["gateway"].pool, "fetchval", asked)
    paths = ["/readyz", "/metrics"] * 500
    answers = await asyncio.gather(*(served.local.get(path) for path in paths))
    assert {answer.status_code for answer in answers} == {200}
    assert (texts, questions) == (1, 1)


async def test_callers_at_the_moment_an_answer_grows_old_are_all_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for probe in (served.state["probes"]._postgres, served.state["probes"]._redis, served.state["probes"]._broker):
        monkeypatch.setattr(probe, "_max_age", 0.0)
    for _ in range(5):
        answers = await asyncio.gather(*(served.local.get(path) for path in ["/readyz", "/metrics"] * 24))
        assert {answer.status_code for answer in answers} == {200}


async def test_with_a_port_for_probes_the_main_port_has_only_healthz(stores: Stores, pool: Pool) -> None:
    served = Served(Configured(stores, probe_port=9001))
    async with served.app.router.lifespan_context(served.app) as served.state:
        main, own = (served.client("127.0.0.1", f"http://shop.example:{port}") for port in (8000, 9001))
        expected = {"/healthz": (200, 200), "/readyz": (404, 200), "/metrics": (404, 200), "/graphql": (401, 404)}
        for path, statuses in expected.items():
            method = "POST" if path == "/graphql" else "GET"
            content = {"content": b"{}", "headers": {"content-type": "application/json", "host": "shop.example:9001"}}
            found = [(await each.request(method, path, **content)).status_code for each in (main, own)]  # type: ignore[arg-type]
            assert tuple(found) == statuses, path


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


async def test_the_dashboard_shows_every_metric_and_no_unknown_one(served: Served) -> None:
    text = (await served.local.get("/metrics")).text
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    parts = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}
    exists = {name + part for name, kind in families.items() for part in parts.get(kind, ("",))}
    named = {name for asked in expressions() for name in re.findall(r"\b(?:penchant|process)_\w+", asked)}
    assert named <= exists, named - exists
    shown = {name for name in families if any(each.startswith(name) for each in named)}
    assert {name for name in families if name.startswith("penchant")} <= shown


async def test_the_dashboard_uses_only_labels_that_exist(served: Served, pool: Pool) -> None:
    await request_job(pool, "main", "a test", "ada")
    job = await lease_job(pool, "main")
    assert job is not None
    await fail_job(pool, job, "no data")
    await served.ask(LIST)
    await served.ask("{ nothing }")
    await served.ask(TRACK, events=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}])
    metrics.TASKS.labels("penchant.a_task", "done").observe(0.1)
    metrics.RATE_LIMITED.labels("client").inc()
    metrics.DEPRECATED_USES.labels("Item.imageUrl").inc()
    metrics.PURGES.labels("delivered").inc()
    text = (await served.local.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    labels = {sample.name: set(sample.labels) | {"job", "instance"} for sample in samples}
    for asked in expressions():
        for name, selector in re.findall(r"\b((?:penchant|process)_\w+)\{([^}]*)\}", asked):
            used = set(re.findall(r"(\w+)=", selector)) | set(
                re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", asked)))
            )
            assert used <= labels[name], (asked, used - labels[name])


async def test_every_metric_is_explained(served: Served) -> None:
    text = (await served.local.get("/metrics")).text
    ours = {family.name for family in text_string_to_metric_families(text) if family.name.startswith("penchant")}
    explained = {name.removesuffix("_total") for name in re.findall(r"`(penchant_\w+)`", DOCUMENT.read_text())}
    assert ours == explained
