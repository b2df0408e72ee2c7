"""The HTTP protocol, over real sockets: heads and framing are limited while they are read, and never ambiguous."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from api.http.connections.protocol import MAX_FRAMING, MAX_HEAD, MAX_HEADERS
from api.http.guard import EdgeGuard
from tests.http_protocol import CHUNKED, CLOSE, GET, MEGABYTE, App, CountedProtocol
from tests.raw_http import DEADLINE, code, exchange, status


def head_of(size: int) -> bytes:
    """A valid head of so many bytes."""
    start = GET + CLOSE + b"x-long: "
    return start + b"v" * (size - len(start) - 4) + b"\r\n\r\n"


async def test_the_largest_head_is_answered_and_one_byte_more_is_not(port: int, app: App) -> None:
    assert status(await exchange(port, head_of(MAX_HEAD))) == 200
    answer = await exchange(port, head_of(MAX_HEAD + 1))
    assert (status(answer), code(answer), len(app.asked)) == (431, "HEADERS_TOO_LARGE", 1)
    assert b"connection: close" in answer


async def test_the_most_headers_are_answered_and_one_more_is_not(port: int) -> None:
    for more, expected in ((0, 200), (1, 431)):
        headers = b"".join(b"h%d: v\r\n" % number for number in range(MAX_HEADERS - 2 + more))
        assert status(await exchange(port, GET, CLOSE, headers, b"\r\n")) == expected


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (GET, b"a:b\r\n" * 200_000),
        (GET + b"x-long: ", MEGABYTE),
        (GET + b"x-long", MEGABYTE),
        (GET + b"x-blank:", b" " * 1_000_000),
        (b"GET /", MEGABYTE),
        (b"", b"\r\n" * 500_000),
    ],
    ids=["headers", "value", "name", "blanks", "url", "empty lines"],
)
async def test_an_endless_head_is_refused_while_it_is_read(port: int, app: App, start: bytes, more: bytes) -> None:
    answer = await exchange(port, start, *[more] * 100)
    assert status(answer) in (400, 431)
    assert code(answer) in ("BAD_REQUEST", "HEADERS_TOO_LARGE")
    assert CountedProtocol.fed <= MAX_HEAD
    assert CountedProtocol.kept == 0
    assert app.asked == []


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"\r\n1\r\nx\r\n", b"1\r\nx\r\n" * 150_000),
        (b"\r\n5;", MEGABYTE),
        (b"\r\n0\r\n", b"a: b\r\n" * 150_000),
        (b"\r\n0\r\na: ", MEGABYTE),
    ],
    ids=["tiny chunks", "extension", "trailers", "trailer"],
)
async def test_endless_framing_of_a_body_is_refused_while_it_is_read(
    port: int, app: App, start: bytes, more: bytes
) -> None:
    answer = await exchange(port, CHUNKED + start, *[more] * 20)
    assert status(answer) in (413, 431)
    assert CountedProtocol.fed <= 2 * MAX_FRAMING
    assert app.asked == []


async def test_a_body_in_small_chunks_with_extensions_and_a_trailer_arrives_whole(port: int, app: App) -> None:
    chunk = b"40;signature=1\r\n" + b"x" * 64 + b"\r\n"
    answer = await exchange(port, CHUNKED, CLOSE, b"\r\n", chunk * 4000, b"0\r\nx-forwarded-for: 1.2.3.4\r\n\r\n")
    assert answer.endswith(b"/ 256000;")
    assert b"x-forwarded-for" not in dict(app.asked[0]["headers"])


async def test_an_invalid_request_behind_a_valid_one_is_refused_after_the_first_answer(port: int) -> None:
    valid = b"GET /first HTTP/1.1\r\nhost: shop\r\n\r\n"
    for invalid in (b"get / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", CHUNKED + b"\r\nzz\r\n"):
        answer = await exchange(port, valid + invalid)
        first, second = answer.index(b"200 OK"), answer.index(b"400 Bad Request")
        assert first < answer.index(b"/first 0;") < second


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"host: a\r\nhost: a\r\n",
        b"host: a\r\nHost: b\r\n",
        b"host:\r\n",
        b"host: a b\r\n",
        b"host: a/b\r\n",
        b"host: a@b\r\n",
        b"host: a:b\r\n",
        b"host: a:65536\r\n",
        b"host: a:99999\r\n",
        b"host: ..\r\n",
        b"host: a..b\r\n",
        b"host: .a\r\n",
        b"host: ..%00\r\n",
        b"host: a%41\r\n",
        b"host: a~b\r\n",
        b"host: :80\r\n",
        b"host: [::1\r\n",
        b"host: [::::]\r\n",
        b"host: [1:2:3:4:5:6:7:8:9]\r\n",
        b"host: [127.0.0.1]\r\n",
        b"host: [::1%25lo]\r\n",
        b"host: [::1]:65536\r\n",
        b"host: \xff\r\n",
    ],
)
async def test_a_request_needs_one_valid_host(port: int, app: App, headers: bytes) -> None:
    answer = await exchange(port, b"GET / HTTP/1.1\r\n", headers, b"\r\n")
    assert (status(answer), code(answer), app.asked) == (400, "BAD_REQUEST", [])


@pytest.mark.parametrize(
    "host",
    [
        b"shop",
        b"shop.example:8000",
        b"shop.example.",
        b"xn--caf-dma.example:65535",
        b"127.0.0.1:8000",
        b"[::1]:8000",
        b"[::ffff:127.0.0.1]",
        b"a_b.c:",
    ],
)
async def test_every_valid_host_is_answered(port: int, host: bytes) -> None:
    assert status(await exchange(port, b"GET / HTTP/1.1\r\nhost: ", host, b"\r\n", CLOSE, b"\r\n")) == 200


async def test_the_versions_before_hosts_need_none(port: int) -> None:
    assert status(await exchange(port, b"GET / HTTP/1.0\r\n\r\n")) == 200
    assert status(await exchange(port, b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n")) == 400


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.7\r\nhost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (GET + b"a: b\rc\r\n\r\n", 400),
        (GET + b"a: b\nc: d\r\n\r\n", 400),
        (GET + b"a: b\x00c\r\n\r\n", 400),
        (GET + b"a: b\r\n c\r\n\r\n", 400),
        (GET + b"a : b\r\n\r\n", 400),
        (GET + b"a\x00: b\r\n\r\n", 400),
        (GET + b"content-length: -1\r\n\r\n", 400),
        (GET + b"content-length: +1\r\n\r\n", 400),
        (GET + b"content-length: 1, 1\r\n\r\n", 400),
        (GET + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx", 400),
        (GET + b"content-length: 99999999999999999999999\r\n\r\n", 400),
        (GET + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"transfer-encoding: identity\r\n\r\n", 400),
        (GET + b"transfer-encoding: gzip\r\n\r\n", 400),
        (GET + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (GET + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"\r\n-1\r\n", 400),
        (CHUNKED + b"\r\n0x1\r\nx\r\n", 400),
        (CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
        (CHUNKED + b"\r\n1\nx\r\n", 400),
    ],
)
async def test_what_servers_may_read_in_two_ways_is_refused(port: int, app: App, sent: bytes, expected: int) -> None:
    answer = await exchange(port, sent, b"GET /second HTTP/1.1\r\nhost: shop\r\n\r\n")
    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1
    assert code(answer)
    assert app.asked == []


async def test_a_request_for_another_protocol_cannot_hide_a_second_request_in_its_body(port: int, app: App) -> None:
    upgrade = b"POST /first HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
    hidden = b"GET /second HTTP/1.1\r\nhost: shop\r\n\r\n"
    answer = await exchange(port, upgrade, b"content-length: %d\r\n\r\n" % len(hidden), hidden)
    assert (status(answer), app.asked) == (400, [])
    answer = await exchange(port, upgrade, b"\r\n", hidden)
    assert (status(answer), len(app.asked), b"connection: close" in answer) == (200, 1, True)


async def test_the_address_in_an_absolute_uri_changes_only_the_path(port: int) -> None:
    answer = await exchange(port, b"GET http://other/place HTTP/1.1\r\nhost: shop\r\n", CLOSE, b"\r\n")
    assert answer.endswith(b"/place 0;")


async def test_a_caller_that_waits_for_the_servers_word_gets_it_once(port: int) -> None:
    expecting = b"expect: 100-continue\r\n" * 50
    answer = await exchange(port, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n", CLOSE, expecting, b"\r\nx")
    assert answer.count(b"100 Continue") == 1
    assert answer.endswith(b"/ 1;")


async def test_too_many_connections_are_refused_and_the_open_ones_still_answered(port: int) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CountedProtocol.max_connections)]
    reader, writer = opened[0]
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert status(await asyncio.wait_for(reader.readuntil(b";"), DEADLINE)) == 200
    answer = await exchange(port)
    assert (status(answer), code(answer)) == (503, "SERVICE_UNAVAILABLE")
    for _, each in opened:
        each.close()


async def test_a_large_body_is_refused_with_an_answer_that_its_sender_can_read(port: int, app: App) -> None:
    announced = b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 5000000\r\n\r\n"
    answer = await exchange(port, announced, *[MEGABYTE] * 5)
    assert (status(answer), code(answer), app.asked) == (413, "PAYLOAD_TOO_LARGE", [])


async def test_large_bodies_share_a_bound_and_small_ones_are_always_read() -> None:
    sent: list[Any] = []
    arrived = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.set()

    async def send(message: Any) -> None:
        sent.append(message)

    guard = EdgeGuard(app, max_body=1_000_000, timeout=DEADLINE, max_large_bodies=100_000)
    scope = {"type": "http", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}

    def parts(*sizes: int) -> Receive:
        unread = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in sizes]

        async def receive() -> Any:
            return unread.pop(0) if unread else await asyncio.Event().wait()

        return receive

    slow = asyncio.create_task(guard(dict(scope), parts(150_000), send))
    await asyncio.sleep(0)
    await guard(dict(scope), parts(100_000, 100_000), send)
    assert sent[0]["status"] == 503

    async def small() -> Any:
        return {"type": "http.request", "body": b"x" * 60_000, "more_body": False}

    await guard(dict(scope), small, send)
    assert arrived.is_set()
    slow.cancel()
    await asyncio.wait({slow})


async def test_too_many_running_requests_are_refused_and_probes_still_answered() -> None:
    statuses: list[int] = []
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/graphql":
            await release.wait()
        await send({"type": "http.response.start", "status": 200})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        raise AssertionError

    guard = EdgeGuard(app, max_body=1000, timeout=DEADLINE, max_in_flight=3)
    running = [
        asyncio.create_task(guard({"type": "http", "path": "/graphql", "headers": []}, receive, send)) for _ in range(4)
    ]
    async with asyncio.timeout(DEADLINE):
        while not statuses:  # noqa: ASYNC110  # the fourth is refused while three run
            await asyncio.sleep(0)
    assert statuses == [503]
    await guard({"type": "http", "path": "/healthz", "headers": []}, receive, send)
    release.set()
    await asyncio.gather(*running)
    assert sorted(statuses) == [200, 200, 200, 200, 503]
