"""What a caller may do to a WebSocket's connection: frames as bytes on a raw socket."""

import asyncio
import socket
import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import ClassVar

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.http.connections.protocol import GatewayProtocol
from api.http.connections.websockets import MAX_FRAGMENTS, MAX_MESSAGE, SLICE, GatewayWebSocket
from tests.raw_http import DEADLINE, code, exchange, running, status

TEXT, CONTINUATION, PING, CLOSE = 1, 0, 9, 8
KEY = b64encode(b"0123456789abcdef")


def handshake(path: bytes = b"/graphql", *more: bytes) -> bytes:
    lines = [
        b"GET %b HTTP/1.1" % path,
        b"host: shop",
        b"connection: Upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 13",
        b"sec-websocket-key: " + KEY,
        *more,
    ]
    return b"\r\n".join([*lines, b"", b""])


def frame(kind: int, data: bytes = b"", *, last: bool = True, masked: bool = True) -> bytes:
    """A frame of a client, with a mask of zeros."""
    head = bytes([kind | (128 if last else 0)])
    mask = 128 if masked else 0
    if len(data) < 126:
        head += bytes([mask | len(data)])
    elif len(data) < 65_536:
        head += bytes([mask | 126]) + struct.pack("!H", len(data))
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", len(data))
    return head + (bytes(4) if masked else b"") + data


class Counted(GatewayWebSocket):
    """Known by its last connection."""

    last: ClassVar["Counted"]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        Counted.last = self


class Echo:
    """Accepts, notes each message, and sends it back `times` times."""

    def __init__(self) -> None:
        self.times = 1
        self.messages: list[str] = []
        self.ended: list[int] = []
        self.may_receive = asyncio.Event()
        self.may_receive.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await self.may_receive.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended.append(message["code"])
                return
            self.messages.append(message["text"])
            for _ in range(self.times):
                await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo) -> AsyncIterator[int]:
    config = uvicorn.Config(
        echo, port=0, http=GatewayProtocol, ws=Counted, lifespan="off", log_config=None, proxy_headers=False
    )
    async with running(config) as number:
        yield number


def closed_with(answer: bytes) -> int:
    """The code of the close frame at the end of an answer."""
    found = answer.rfind(b"\x88")
    assert found >= 0, answer
    return int(struct.unpack("!H", answer[found + 2 : found + 4])[0])


async def test_frames_right_behind_the_handshake_are_read(port: int, echo: Echo) -> None:
    answer = await exchange(port, handshake() + frame(TEXT, b"one") + frame(PING) + frame(TEXT) * 2 + frame(CLOSE))
    assert status(answer) == 101
    assert echo.messages[0] == "one"


async def test_every_split_of_the_bytes_reads_the_same(port: int, echo: Echo) -> None:
    sent = handshake() + frame(TEXT, b"on", last=False) + frame(CONTINUATION, b"e") + frame(CLOSE)
    answer = await exchange(port, *(sent[index : index + 1] for index in range(len(sent))))
    assert status(answer) == 101
    assert echo.messages == ["one"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (frame(TEXT, b"x" * (MAX_MESSAGE + 1)), 1009),
        (b"".join(frame(TEXT if n == 0 else CONTINUATION, b"x" * 40_000, last=False) for n in range(2)), 1009),
        (frame(TEXT, b"", last=False) + frame(CONTINUATION, b"", last=False) * (MAX_FRAGMENTS + 1), 1009),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"x", masked=False), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(3), 1002),
        (frame(PING, b"x" * 126), 1002),
        (b"\xf1\x80" + bytes(4), 1002),
    ],
)
async def test_wrong_frames_close_the_connection(
    port: int, echo: Echo, sent: bytes, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert closed_with(await exchange(port, handshake() + sent)) == expected
    assert echo.messages == []
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (handshake(b"/elsewhere"), 200),
        (handshake(b"/graphql", b"content-length: 5") + b"hello", 400),
        (handshake(b"/graphql", b"transfer-encoding: chunked"), 400),
        (handshake(b"/graphql", b"x: " + b"y" * 9_000), 431),
        (handshake(b"/graphql?" + b"y" * 9_000), 431),
        (handshake().replace(b"version: 13", b"version: 12"), 400),
        (handshake().replace(KEY, b"short"), 400),
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
        (handshake().replace(b"GET", b"POST"), 200),
    ],
)
async def test_a_wrong_handshake_is_refused(port: int, sent: bytes, expected: int) -> None:
    answer = await exchange(port, sent.replace(b"connection: Upgrade", b"connection: Upgrade, close"))
    assert status(answer) == expected


async def test_a_handshake_waits_for_the_answer_before_it(port: int, echo: Echo) -> None:
    first = b"GET /first HTTP/1.1\r\nhost: shop\r\n\r\n"
    answer = await exchange(port, first + handshake() + frame(TEXT, b"one") + frame(CLOSE))
    assert answer.index(b" 200 ") < answer.index(b" 101 ")
    assert echo.messages == ["one"]


async def test_messages_wait_unparsed_while_the_app_is_busy(port: int, echo: Echo) -> None:
    echo.may_receive.clear()
    caller = await opened(port)
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(caller, frame(TEXT, b"x" * 1_000) * 5_000))
    done, _ = await asyncio.wait({sending}, timeout=0.5)
    assert not done, "the rest of five megabytes waits at the caller"
    assert Counted.last.queue.qsize() < 10
    sending.cancel()
    await asyncio.wait({sending})
    caller.close()
    echo.may_receive.set()


async def test_one_iteration_of_the_loop_parses_little(port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = WebSocketsSansIOProtocol.data_received
    parsed: list[int] = []
    in_this_iteration: list[int] = []

    def counted(self: WebSocketsSansIOProtocol, data: bytes) -> None:
        if not in_this_iteration:
            asyncio.get_running_loop().call_soon(in_this_iteration.clear)
        in_this_iteration.append(len(data))
        parsed.append(sum(in_this_iteration))
        parse(self, data)

    caller = await opened(port)
    monkeypatch.setattr(WebSocketsSansIOProtocol, "data_received", counted)
    await asyncio.get_running_loop().sock_sendall(caller, frame(PING) * 40_000 + frame(TEXT, b"end"))
    async with asyncio.timeout(DEADLINE):
        while echo.messages != ["end"]:
            assert await asyncio.get_running_loop().sock_recv(caller, 65_536)
    assert max(parsed) <= 2 * SLICE, "one slice that waited, and one that was just read"
    caller.close()


async def opened(port: int) -> socket.socket:
    """A socket that has sent the handshake."""
    caller = socket.create_connection(("127.0.0.1", port), DEADLINE)
    caller.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(caller, handshake())
    assert b" 101 " in await loop.sock_recv(caller, 65_536)
    return caller


@pytest.mark.parametrize("flood", [frame(TEXT, b"x" * 1_000), frame(PING, b"x" * 100)], ids=["messages", "pings"])
async def test_a_caller_that_reads_nothing_is_closed(
    port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch, flood: bytes
) -> None:
    monkeypatch.setattr(GatewayWebSocket, "read_timeout", 0.1)
    echo.times = 100
    caller = await opened(port)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await send_for_ever(caller, flood * 100)
    caller.close()


async def send_for_ever(caller: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            await asyncio.get_running_loop().sock_sendall(caller, data)


async def test_a_caller_that_leaves_a_ping_unanswered_is_closed(
    port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connections.websockets.PING_INTERVAL", 0.05)
    assert closed_with(await exchange(port, handshake())) == 1011
    assert echo.ended


async def test_nothing_is_compressed(port: int) -> None:
    offered = handshake(b"/graphql", b"sec-websocket-extensions: permessage-deflate")
    answer = await exchange(port, offered + frame(CLOSE))
    assert b"sec-websocket-extensions" not in answer.lower()


async def test_random_bytes_end_without_a_traceback(port: int, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(1)  # noqa: S311 - no secret
    for _ in range(50):  # longer than any frame that is read: none of them waits for more
        with suppress(ConnectionResetError):  # the rest of the bytes was not read
            await exchange(port, handshake() + random.randbytes(3 * MAX_MESSAGE))
    assert not [record for record in caplog.records if record.exc_info]
    assert code(await exchange(port, b"GET / HTTP/1.1\r\n\r\n")) == "BAD_REQUEST"
