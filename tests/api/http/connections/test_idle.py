"""Connections that send nothing: they cost little, are closed in time, and their first bytes are answered as ever."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import uvicorn
from httptools import HttpRequestParser

from api.http.connections.idle import CLOSED_AT_ONCE, NewConnection
from tests.http_protocol import CLOSE, GET, App, CountedProtocol
from tests.raw_http import DEADLINE, exchange, running, status

TIMEOUT = 0.3


class QuickProtocol(CountedProtocol):
    """Waits for a short time only."""

    max_connections = 1_000
    head_timeout = TIMEOUT


class QuickConnection(NewConnection):
    """Becomes a QuickProtocol."""

    protocol = QuickProtocol


@pytest.fixture
async def port(app: App) -> AsyncIterator[int]:
    config = uvicorn.Config(app, port=0, http=QuickConnection, ws="none", lifespan="off", log_config=None)
    async with running(config) as number:
        yield number


@asynccontextmanager
async def opened(port: int, count: int) -> AsyncIterator[list[socket.socket]]:
    """Connections that the server has accepted."""
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE)) for _ in range(count)]
        async with asyncio.timeout(DEADLINE):
            while _silent() < count:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.005)
        for caller in callers:
            caller.setblocking(False)
        yield callers


async def closed(caller: socket.socket) -> bool:
    """Wait until the server closes this connection."""
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(caller, 1), DEADLINE) == b""


def _silent() -> int:
    found = [each for each in gc.get_objects() if isinstance(each, QuickConnection)]
    return sum(not each._transport.is_closing() for each in found)


async def test_a_silent_connection_has_no_parser_and_no_timer_of_its_own(port: int) -> None:
    async with opened(port, 50):
        made = [each for each in gc.get_objects() if isinstance(each, QuickProtocol | HttpRequestParser)]
        assert made == []
        assert sum(isinstance(each, asyncio.TimerHandle) for each in gc.get_objects()) < 50


async def test_silent_connections_are_closed_in_time_however_many(port: int) -> None:
    async with opened(port, 2 * CLOSED_AT_ONCE + 50) as callers:
        assert all([await closed(caller) for caller in callers])
    assert _silent() == 0


async def test_after_silent_connections_were_closed_others_are_closed_too(port: int) -> None:
    for _ in range(2):
        async with opened(port, 1) as (caller,):
            assert await closed(caller)


async def test_the_first_bytes_are_answered_and_a_head_begun_then_is_limited_too(port: int, app: App) -> None:
    assert status(await exchange(port, GET, CLOSE, b"\r\n")) == 200
    assert await exchange(port, GET) == b""  # closed without an answer: the head never came
    assert len(app.asked) == 1


async def test_the_server_stops_with_silent_connections_open(app: App) -> None:
    config = uvicorn.Config(app, port=0, http=NewConnection, ws="none", lifespan="off", log_config=None)
    async with asyncio.timeout(NewConnection.protocol.head_timeout - 1), running(config) as number:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
    assert await reader.read() == b""
    writer.close()
