"""Attacks by HTTP itself: heads, chunks, trailers, pipelines, connections that wait, compressed bodies."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from benchmarks.hostile_inputs import LARGEST
from benchmarks.hostile_traffic import CLOSED, Send, Target, Traffic, one_each, repeated, status_of

MEGABYTE = 1 << 20
HUNDRED = 100  # megabytes
WAITING = 300  # connections
IDLE = 5_000  # connections
LINES = "application/x-ndjson"


def _heads(target: Target) -> list[Iterator[bytes] | list[bytes]]:
    """Heads of many lines."""
    start = target.head("GET", "/healthz")
    return [
        [start + b"a:b\r\n" * 300_000 + b"\r\n"],
        [start + b"".join(b"a%d:b\r\n" % n for n in range(100_000)) + b"\r\n"],
        [start + (b"Cookie: " + b"c" * 8_000 + b"\r\n") * 200 + b"\r\n"],
        [start + b"a" * MEGABYTE + b": b\r\n\r\n"],
        [target.head("POST", "/graphql") + b"a:b\r\n" * 300_000 + b"Content-Length: 0\r\n\r\n"],
    ]


def _at_the_bound(target: Target) -> list[list[bytes]]:
    """Heads of as many lines and bytes as are allowed, and a little more."""
    start = target.head("GET", "/healthz", f"Authorization: Bearer {target.token}")
    return [[start + b"a:b\r\n" * 90 + b"\r\n"], [start + b"a: " + b"b" * 30_000 + b"\r\n\r\n"],
            [start + b"a:b\r\n" * 120 + b"\r\n"], [start + b"a: " + b"b" * 33_000 + b"\r\n\r\n"]]  # fmt: skip


def _huge(target: Target) -> list[list[bytes]]:
    """Heads of a hundred megabytes: many long lines, one line, one value, one address."""
    start, piece = target.head("GET", "/healthz"), b"v" * MEGABYTE
    line = b"a: " + b"v" * 8_000 + b"\r\n"
    return [
        [start, *[line * 130] * HUNDRED, b"\r\n"],
        [start, b"a: ", *[piece] * HUNDRED, b"\r\n\r\n"],
        [b"GET /", *[piece] * HUNDRED, b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        [start, *[piece] * HUNDRED, b": v\r\n\r\n"],
    ]


def _chunks(target: Target) -> list[list[bytes]]:
    """Chunked bodies of many small chunks, with long extensions and with many trailers."""
    start = target.post(b"").replace(b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n")
    trailers = b"a:b\r\n" * 300_000
    return [
        [start + b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n"],
        [start, *[b"1;" + b"e" * MEGABYTE + b"\r\na\r\n"] * 10, b"0\r\n\r\n"],
        [start + (b"1;e=v\r\na\r\n") * 100_000 + b"0\r\n\r\n"],
        [start + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"],
        [start + b"2\r\n{}\r\n0\r\na: ", *[b"v" * MEGABYTE] * 20, b"\r\n\r\n"],
        [start + b"0" * MEGABYTE + b"2\r\n{}\r\n0\r\n\r\n"],
        [start + b"fffffffffffffff\r\n{}"],
    ]


def _malformed(target: Target) -> list[list[bytes]]:
    """Two hosts, none, two lengths, and other heads that must be refused."""
    host = f"Host: {target.host}:{target.port}\r\n".encode()
    heads = [
        b"GET /healthz HTTP/1.1\r\n" + host + host,
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n",
        b"POST /graphql HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"POST /graphql HTTP/1.1\r\n" + host + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"POST /graphql HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n",
        b"POST /graphql HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999999\r\n",
        b"GET /healthz HTTP/1.1\r\n" + host + b"a: b\r\n c\r\n",
        b"GET /healthz HTTP/1.1\r\n" + host + b"a b: \x00c\r\n",
        b"GET /healthz HTTP/9.9\r\n" + host,
        b"GET http://other/healthz HTTP/1.1\r\n" + host,
        b"\x16\x03\x01" + b"\xff" * 600,
    ]
    return [[head + b"\r\n"] for head in heads]


async def _bytewise(traffic: Traffic) -> None:
    """Heads and bodies that arrive one byte at a time, as fast as the gateway reads."""
    body = b'{"query":"{__typename}"}' + b" " * 2_000

    async def run() -> None:
        while not traffic.over:
            request = traffic.target.post(body)
            await traffic.exchange(request[at : at + 1] for at in range(len(request)))

    await asyncio.gather(*(run() for _ in range(16)))


async def _pipelined(traffic: Traffic) -> None:
    """Thousands of requests sent before the first answer is read."""
    target = traffic.target
    each = [target.request("GET", "/healthz"), target.post('{"query":"{ __typename }"}'), target.request("GET", "/no")]

    async def run(request: bytes, read: bool) -> None:
        while not traffic.over:
            wire = await traffic.opened()
            sending = asyncio.create_task(_write(wire.writer, request * 2_000))
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(5):
                    while read and not traffic.over:
                        traffic.answers[status_of((await wire.answer())[0])] += 1
                    await sending
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            wire.close()

    await asyncio.gather(*(run(request, read) for request in each for read in (True, False)))


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _waiting(start: Callable[[Target], bytes], more: bytes) -> Send:
    """Connections that send a start, and then a little from time to time."""

    async def send(traffic: Traffic) -> None:
        async def wait() -> None:
            with suppress(OSError):
                wire = await traffic.opened()
                with suppress(OSError):
                    await _write(wire.writer, start(traffic.target))
                    while not traffic.over and not wire.reader.at_eof():
                        await asyncio.sleep(0.3)
                        await _write(wire.writer, more)
                traffic.answers[CLOSED if wire.reader.at_eof() else "open"] += 1
                wire.close()

        await asyncio.gather(*(wait() for _ in range(WAITING)))

    return send


async def _idle(traffic: Traffic) -> None:
    """Connections that send nothing; each that is closed is opened again."""

    async def wait() -> None:
        while not traffic.over:
            with suppress(OSError):
                wire = await traffic.opened()
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(max(0.1, traffic.deadline - asyncio.get_running_loop().time())):
                        await wire.reader.read(1)
                traffic.answers[CLOSED if wire.reader.at_eof() else "open"] += 1
                wire.close()

    await asyncio.gather(*(wait() for _ in range(IDLE)))


async def _leaving(traffic: Traffic) -> None:
    """Connections that are closed as soon as they are open, and callers that leave before the answer."""
    request = traffic.target.post('{"query":"{ items(first: 50) { nodes { id title } } }"}')

    async def run(sent: bytes) -> None:
        while not traffic.over:
            wire = await traffic.opened()
            await _write(wire.writer, sent)
            wire.close()
            traffic.answers["left"] += 1

    await asyncio.gather(*(run(sent) for sent in (b"", b"GET", request, request) for _ in range(4)))


def _compressed(target: Target) -> list[bytes]:
    """Gzip bodies that inflate to much more than they are."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b"\n" * MEGABYTE) for _ in range(800)), packer.flush()])[:LARGEST]
    small = gzip.compress(b'{"id":"a"}\n' * 95_000)
    members = gzip.compress(b"\n" * 16_000) * 64
    many = (gzip.compress(b"") * (LARGEST // 20))[:LARGEST]
    bodies = [bomb, small, members, many, gzip.compress(b"[" * 1_000_000), gzip.compress(b" " * 1_000_000 + b"[]")]
    paths = ("/items", "/events", "/users")
    return [
        target.post(body, path, LINES, "Content-Encoding: gzip") for body, path in zip(bodies, paths * 2, strict=True)
    ]


def _start(body_size: int) -> Callable[[Target], bytes]:
    return lambda target: target.post(b"{" * body_size)[: -body_size + 1]


def _fixed(run: Callable[[Traffic], Awaitable[None]]) -> Callable[[Target], Send]:
    return lambda _: run


ATTACKS: dict[str, Callable[[Target], Send]] = {
    "http/many-headers": lambda target: one_each(*_heads(target)),
    "http/heads-at-the-bound": lambda target: one_each(*_at_the_bound(target)),
    "http/100-mb-heads": lambda target: one_each(*_huge(target), connections=2),
    "http/chunks": lambda target: one_each(*_chunks(target)),
    "http/malformed": lambda target: one_each(*_malformed(target)),
    "http/bytewise": _fixed(_bytewise),
    "http/pipelined": _fixed(_pipelined),
    "http/half-open": lambda _: _waiting(lambda target: target.head("POST", "/graphql"), b"a:b\r\n"),
    "http/slow-bodies": lambda _: _waiting(_start(1_000_000), b"{"),
    "http/idle": _fixed(_idle),
    "http/leaving": _fixed(_leaving),
    "http/gzip": lambda target: repeated(*_compressed(target)),
}
