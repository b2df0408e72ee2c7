"""A third-party client library gets tokens over HTTP from a real uvicorn."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError
from requests_oauthlib import OAuth2Session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.http.cors import Cors
from api.http.endpoint import bearer_token
from api.oauth.authority import Authority, open_authority
from api.oauth.endpoints import routes
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core.errors import InvalidToken
from core.settings import Settings
from db.postgres import connect_pool

SECRET = "a-secret-of-the-client"


async def whoami(request: Request) -> JSONResponse:
    """A resource that is protected like /graphql."""
    authority: Authority = request.state.authority
    try:
        viewer = await authority.verifier.verify(bearer_token(request.scope["headers"]) or "")
    except InvalidToken:
        return JSONResponse({}, 401)
    return JSONResponse({"client": viewer.client_id, "person": viewer.person, "scopes": sorted(viewer.scopes)})


def create_app(settings: Settings) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        url = settings.stores.postgres_url.get_secret_value()
        async with await connect_pool(url, size=2) as pool, open_authority(settings, pool) as authority:
            yield {"authority": authority}

    return Starlette(routes=[*routes(), Route("/whoami", whoami)], middleware=[Middleware(Cors)], lifespan=lifespan)


@pytest.fixture
def base_url(postgres_url: str, pool: Any, configured: Any) -> Iterator[str]:
    """The address of a server in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(create_app(configured(url)), log_config=None, proxy_headers=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield url
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library use http: by default it insists on https."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def fetch(
    base_url: str,
    secret: str = SECRET,
    *,
    grant: str = CLIENT_CREDENTIALS,
    scope: str | None = None,
    **kwargs: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The token, and the answer of a protected resource to it."""
    client = BackendApplicationClient(client_id="shop", scope=scope)
    client.grant_type = grant
    with OAuth2Session(client=client) as session:
        session.trust_env = False
        token = session.fetch_token(f"{base_url}/oauth/token", client_secret=secret, **kwargs)
        return dict(token), session.get(f"{base_url}/whoami").json()


@pytest.mark.parametrize("include_client_id", [None, True])
async def test_client_credentials(base_url: str, registered: Any, include_client_id: bool | None) -> None:
    await registered()
    token, answer = await asyncio.to_thread(fetch, base_url, scope="events:write", include_client_id=include_client_id)
    assert token["token_type"] == "Bearer"
    assert answer == {"client": "shop", "person": None, "scopes": ["events:write"]}


async def test_token_exchange(base_url: str, registered: Any) -> None:
    await registered()
    _, answer = await asyncio.to_thread(
        fetch,
        base_url,
        scope="recommendations:read",
        grant=TOKEN_EXCHANGE,
        subject_token="u 1",
        subject_token_type=USER_ID,
    )
    assert answer == {"client": "shop", "person": ["user", "u 1"], "scopes": ["recommendations:read"]}


async def test_a_wrong_secret_is_an_invalid_client(base_url: str, registered: Any) -> None:
    await registered()
    with pytest.raises(InvalidClientError):
        await asyncio.to_thread(fetch, base_url, "wrong-wrong-wrong")


async def test_many_requests_at_once_are_all_answered(base_url: str, registered: Any) -> None:
    await registered()
    answers = await asyncio.gather(*(asyncio.to_thread(fetch, base_url) for _ in range(12)))
    assert len({token["access_token"] for token, _ in answers}) == 12
    assert {answer["client"] for _, answer in answers} == {"shop"}
