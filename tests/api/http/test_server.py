"""The server's shutdown, over real sockets: no request on an open connection is lost."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from api.http import server
from api.http.server import GatewayServer

DEADLINE = 10.0  # seconds a test waits
GET = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n"


@dataclass
class Started:
    """A server that runs, and an app whose answers can be held back."""

    server: GatewayServer
    running: asyncio.Task[None]
    release: asyncio.Event
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.server.servers[0].sockets[0].getsockname()
        return await asyncio.open_connection(host, port)

    async def stop_accepting(self) -> None:
        """Begin the shutdown, and wait until it has closed the listening socket."""
        listening = self.server.servers[0]
        self.server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            while listening.is_serving():  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.005)


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    ready, release, entered = asyncio.Event(), asyncio.Event(), asyncio.Event()
    release.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await release.wait()
        headers = [(b"content-length", b"2")]
        status = 503 if scope["state"].get(server.DRAINING) else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, port=0, ws="none", lifespan="off", log_config=None, proxy_headers=False)
    gateway = GatewayServer(config, ready.set)
    running = asyncio.create_task(gateway._serve())
    async with asyncio.timeout(DEADLINE):
        await ready.wait()
    yield Started(gateway, running, release, entered)
    release.set()
    gateway.should_exit = gateway.force_exit = True
    await running


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.lower() + await reader.readexactly(2)


async def test_an_open_connection_may_send_one_more_request_during_shutdown(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LAST_REQUEST_TIMEOUT", DEADLINE)
    reader, writer = await started.connect()
    writer.write(GET)
    assert b"connection: close" not in await read_answer(reader)
    await started.stop_accepting()
    writer.write(GET)
    last = await read_answer(reader)
    assert b"connection: close" in last
    assert last.startswith(b"http/1.1 503"), "the request can see that the server stops"
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
        await started.running
    writer.close()


async def test_a_running_request_is_finished_during_shutdown(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LAST_REQUEST_TIMEOUT", 0.05)
    started.release.clear()
    reader, writer = await started.connect()
    writer.write(GET)
    async with asyncio.timeout(DEADLINE):
        await started.entered.wait()
    await started.stop_accepting()
    started.release.set()
    assert (await read_answer(reader)).startswith(b"http/1.1 200")
    async with asyncio.timeout(DEADLINE):
        await started.running
    writer.close()


async def test_an_idle_connection_does_not_delay_the_shutdown(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LAST_REQUEST_TIMEOUT", 0.05)
    reader, writer = await started.connect()
    writer.write(GET)
    await read_answer(reader)
    await started.stop_accepting()
    with suppress(ConnectionResetError):
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""
    async with asyncio.timeout(DEADLINE):
        await started.running
    writer.close()


async def test_a_stopping_server_accepts_no_new_connection(started: Started) -> None:
    host, port = started.server.servers[0].sockets[0].getsockname()
    await started.stop_accepting()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


def test_one_iteration_of_uvloop_accepts_many_connections() -> None:
    callers = 8 * server.ACCEPTED_AT_ONCE

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    async def run() -> int:
        config = uvicorn.Config(app, port=0, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        gateway = GatewayServer(config)
        running = asyncio.create_task(gateway._serve())
        async with asyncio.timeout(DEADLINE):
            while not gateway.started:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.005)
        address = gateway.servers[0].sockets[0].getsockname()
        opened = [socket.create_connection(address) for _ in range(callers)]
        iterations = 0
        while len(gateway.server_state.connections) < callers and iterations < 2 * callers:
            await asyncio.sleep(0)
            iterations += 1
        for each in opened:
            each.close()
        gateway.should_exit = True
        await running
        return iterations

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) <= callers // server.ACCEPTED_AT_ONCE + 4


async def test_the_system_keeps_little_of_a_connection_that_is_not_accepted_yet(started: Started) -> None:
    for listening in started.server.servers:
        kept = listening.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert kept <= 2 * server.RECEIVE_BUFFER  # Linux doubles it
