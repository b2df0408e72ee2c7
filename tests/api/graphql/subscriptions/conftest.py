"""A gateway on a real socket, with its own protocols, and a client of `graphql-transport-ws`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from api.http.connections.protocol import GatewayProtocol
from api.http.connections.websockets import GatewayWebSocket
from api.http.server import GatewayServer
from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.in_process import Configured
from tests.running import CLIENT, SECRET

DEADLINE = 10.0  # seconds
PROTOCOL = "graphql-transport-ws"
ORIGIN = "https://shop.example"


@dataclass
class Serving:
    """A gateway that listens on `port`."""

    port: int
    server: GatewayServer
    app: Starlette

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def token(self, *scopes: str, **form: str) -> str:
        """A new token of the test's client."""
        form = {"grant_type": CLIENT_CREDENTIALS, "scope": " ".join(scopes or SCOPES)} | form
        async with httpx.AsyncClient(base_url=self.url) as client:
            answer = await client.post("/oauth/token", data=form, auth=(CLIENT, SECRET))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


class Caller:
    """One WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            return dict(orjson.loads(await self.socket.recv()))

    async def init(self, token: str) -> None:
        await self.say(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert await self.next() == {"type": "connection_ack"}

    async def subscribe(self, id: str, query: str, **payload: Any) -> None:
        await self.say(type="subscribe", id=id, payload={"query": query, **payload})

    async def closed(self) -> tuple[int, str]:
        """The code and the reason, after whatever comes before them."""
        async with asyncio.timeout(DEADLINE):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                assert self.socket.close_code is not None
                return self.socket.close_code, self.socket.close_reason or ""


Connect = Callable[..., Awaitable[Caller]]


@asynccontextmanager
async def serving(stores: Stores) -> AsyncIterator[Serving]:
    """A gateway that starts and stops as in production, in this process."""
    app = create_app(Configured(stores))
    config = uvicorn.Config(
        app,
        port=0,
        http=GatewayProtocol,
        ws=GatewayWebSocket,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = GatewayServer(config)
    running = asyncio.create_task(server._serve())
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)
    try:
        yield Serving(server.servers[0].sockets[0].getsockname()[1], server, app)
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def gateway_at(stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel) -> AsyncIterator[Serving]:
    """A gateway, with one client that has every scope and one registered origin."""
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    record = register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES), origins=[ORIGIN])
    assert await create_client(pool, record)
    async with serving(stores) as started:
        yield started


@pytest.fixture
async def connected(gateway_at: Serving) -> AsyncIterator[Connect]:
    """Opens WebSockets, and closes them at the end."""
    async with AsyncExitStack() as stack:

        async def open_socket(*, token: str | None = None, protocol: str = PROTOCOL, **options: Any) -> Caller:
            socket = await stack.enter_async_context(
                connect(f"ws://127.0.0.1:{gateway_at.port}/graphql", subprotocols=[protocol], **options)  # type: ignore[list-item]
            )
            caller = Caller(socket)
            if token is not None:
                await caller.init(token)
            return caller

        yield open_socket
