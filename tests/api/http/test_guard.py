"""The edge, over real sockets: unfinished requests are closed, bodies are limited, framing is unambiguous."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from api.http.connections.protocol import GatewayProtocol
from api.http.guard import EdgeGuard
from tests.raw_http import DEADLINE, exchange, running, status

TIMEOUT = 0.3  # seconds the server under test waits


class QuickProtocol(GatewayProtocol):
    """The protocol with a shorter timeout."""

    head_timeout = TIMEOUT


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    body = str(len(message["body"])).encode() + b" " + scope["state"]["request_id"].encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    guarded = EdgeGuard(echo, max_body=1000, timeout=TIMEOUT)
    config = uvicorn.Config(
        guarded, port=0, http=QuickProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False
    )
    async with running(config) as number:
        yield number


POST = b"POST / HTTP/1.1\r\nhost: shop\r\n"
CLOSE = b"connection: close\r\n"
HALF_OPEN = 300
HALVES = (b"", POST + b"x-slow: 1\r\n", POST + b"content-length: 5\r\n\r\nhe")


async def test_an_answer_carries_the_id_of_its_request(port: int) -> None:
    answer = await exchange(port, POST, CLOSE, b"content-length: 5\r\n\r\n", b"hello")
    head, _, body = answer.partition(b"\r\n\r\n")
    length, request_id = body.split()
    assert (status(answer), length) == (200, b"5")
    assert b"x-request-id: " + request_id in head


@pytest.mark.parametrize("sent", [b"", b"POST", b"\r\n", POST, POST + b"x-slow: 1\r\n"])
async def test_a_connection_without_a_whole_request_head_is_closed(port: int, sent: bytes) -> None:
    assert await exchange(port, sent) == b""


async def test_hundreds_of_half_open_connections_are_closed_and_hold_nobody_up(port: int) -> None:
    waiting = [asyncio.create_task(exchange(port, HALVES[number % len(HALVES)])) for number in range(HALF_OPEN)]
    while not all(task.done() for task in waiting):
        whole = await exchange(port, POST, CLOSE, b"content-length: 5\r\n\r\n", b"hello")
        assert status(whole) == 200
    answers = await asyncio.gather(*waiting)
    assert {answer and status(answer) for answer in answers} == {b"", 408}
    assert answers.count(b"") == HALF_OPEN * 2 // 3, "a body that is not finished gets an answer"


async def test_a_later_request_on_the_same_connection_has_a_time_limit_too(port: int) -> None:
    answer = await exchange(port, POST + b"content-length: 0\r\n\r\n", b"POST / HT")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_later_request_head_that_is_never_finished_closes_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE):
        writer.write(POST + b"content-length: 0\r\n\r\n")
        assert status(await reader.readuntil(b"\r\n\r\n")) == 200
        await reader.readexactly(34)  # the body: "0", a space and the request's id
        writer.write(b"POST / HT")
        assert await reader.read() == b""
    writer.close()


async def test_an_unfinished_body_is_refused_and_the_connection_closed(port: int) -> None:
    for framing in (b"content-length: 5\r\n\r\nhel", b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n"):
        answer = await exchange(port, POST, framing)
        assert status(answer) == 408
        assert b"connection: close" in answer


async def test_a_body_announced_too_large_is_refused_before_it_is_sent(port: int) -> None:
    answer = await exchange(port, POST, b"content-length: 1001\r\n\r\n")
    assert status(answer) == 413
    assert b"PAYLOAD_TOO_LARGE" in answer


async def test_a_chunked_body_is_refused_when_it_has_grown_too_large(port: int) -> None:
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    assert status(await exchange(port, POST, b"transfer-encoding: chunked\r\n\r\n", chunk * 3)) == 413


async def test_the_largest_body_allowed_arrives_whole(port: int) -> None:
    for framing in (b"content-length: 1000\r\n\r\n" + b"x" * 1000, b"transfer-encoding: chunked\r\n\r\n3e8\r\n"):
        rest = b"" if b"length" in framing else b"x" * 1000 + b"\r\n0\r\n\r\n"
        answer = await exchange(port, POST, CLOSE, framing, rest)
        assert (status(answer), answer.rpartition(b"\r\n")[2].split()[0]) == (200, b"1000")


async def test_a_body_framed_in_two_ways_is_refused_and_closed(port: int) -> None:
    smuggled = b"GET /second HTTP/1.1\r\nhost: shop\r\n\r\n"
    answer = await exchange(port, POST, b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", smuggled)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("framing", [b"content-length: 5\r\ncontent-length: 6\r\n", b"content-length: -1\r\n"])
async def test_an_invalid_length_is_refused(port: int, framing: bytes) -> None:
    assert status(await exchange(port, POST, framing, b"\r\nhello")) == 400


async def test_other_protocols_pass_through() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    await EdgeGuard(app, max_body=1, timeout=1)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def call_guard(headers: list[tuple[bytes, bytes]], *messages: Message) -> tuple[list[bytes], list[Message]]:
    """What the guard does with these messages: the bodies the app received, and the messages sent to the caller."""
    unread = list(messages)
    received: list[bytes] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append((await receive())["body"])

    async def receive() -> Message:
        return unread.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await EdgeGuard(app, max_body=10, timeout=DEADLINE)({"type": "http", "headers": headers}, receive, send)
    return received, sent


async def test_a_caller_that_disconnects_during_its_body_never_reaches_the_app() -> None:
    part: Message = {"type": "http.request", "body": b"hel", "more_body": True}
    assert await call_guard([(b"content-length", b"5")], part, {"type": "http.disconnect"}) == ([], [])


async def test_a_length_and_a_transfer_encoding_together_are_refused_whatever_the_server_accepts() -> None:
    received, sent = await call_guard([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
    assert received == []
    assert (sent[0]["status"], b"BAD_REQUEST" in sent[1]["body"]) == (400, True)
