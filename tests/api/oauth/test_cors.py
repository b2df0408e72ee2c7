"""CORS: pages of registered origins may call, other pages may not read, and credentials are never allowed."""

from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from api.http.cors import Cors, Origins
from api.http.oauth_changes import OAuthChanges
from api.oauth.authority import Authority
from db.clients import disable_client
from db.postgres import Pool, connect_pool

PAGE = "https://www.shop.example"


@pytest.fixture(autouse=True)
def read_each_time(authority: Authority, pool: Pool) -> None:
    """Read the origins for each request."""
    authority.origins = Origins(pool, OAuthChanges(pool), poll=0.0)


async def preflight(http: httpx.AsyncClient, origin: str, path: str = "/graphql", **more: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", **more}
    return await http.options(path, headers=headers)


async def test_a_registered_page_may_call(http: httpx.AsyncClient, registered: Any) -> None:
    await registered(origins=[PAGE])
    for path in ("/graphql", "/oauth/token", "/events"):
        wanted = {"Access-Control-Request-Headers": "authorization, content-type, x-own"}
        answer = await preflight(http, PAGE, path, **wanted)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-own"
        assert int(answer.headers["access-control-max-age"]) > 0
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "https://www.shop.example.evil.example",
        "http://www.shop.example",
        "https://www.shop.example:8443",
        "https://WWW.SHOP.EXAMPLE/",
        "*",
        "",
    ],
)
async def test_other_pages_may_not(http: httpx.AsyncClient, registered: Any, origin: str) -> None:
    await registered(origins=[PAGE])
    answer = await preflight(http, origin)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    real = await http.post("/oauth/token", headers={"Origin": origin})
    assert not [name for name in real.headers if name.startswith("access-control")]


async def test_a_page_can_read_the_rate_limit_headers(http: httpx.AsyncClient, registered: Any) -> None:
    await registered(origins=[PAGE])
    answer = await http.post("/oauth/token", headers={"Origin": PAGE})
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert {"Retry-After", "RateLimit", "X-Request-Id"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert answer.headers["vary"] == "Origin"


async def test_the_answer_varies_by_origin_even_without_one(http: httpx.AsyncClient) -> None:
    answer = await http.post("/oauth/token")
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in answer.headers


async def test_other_paths_have_no_cors_headers(http: httpx.AsyncClient, registered: Any) -> None:
    await registered(origins=[PAGE])
    for path in ("/healthz", "/metrics", "/login", "/graphql/"):
        assert "access-control-allow-origin" not in (await preflight(http, PAGE, path)).headers


async def test_pages_of_a_disabled_client_may_not_call(http: httpx.AsyncClient, registered: Any, pool: Pool) -> None:
    await registered(origins=[PAGE])
    await disable_client(pool, "shop")
    assert (await preflight(http, PAGE)).status_code == 403


@pytest.mark.parametrize("wanted", ["a\tb", "x" * 2000, "é", "a,,b", "a: b"])
async def test_strange_header_names_are_not_repeated(http: httpx.AsyncClient, registered: Any, wanted: str) -> None:
    await registered(origins=[PAGE])
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    raw = [(name.encode(), value.encode("utf-8")) for name, value in headers.items()]
    assert "access-control-allow-headers" not in (await http.options("/graphql", headers=raw)).headers


async def test_without_postgres_origins_are_as_of_the_last_read(registered: Any, postgres_url: str) -> None:
    await registered(origins=[PAGE])
    lost = await connect_pool(postgres_url, size=1)
    origins = Origins(lost, OAuthChanges(lost), poll=0.0)
    assert await origins.allowed_origin(PAGE)
    await lost.close()
    assert await origins.allowed_origin(PAGE)


async def test_only_http_requests_are_checked() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        await Cors(app)({"type": kind, "path": "/graphql", "headers": Headers({"origin": PAGE}).raw}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan", "websocket"]
