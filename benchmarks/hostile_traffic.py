"""Hostile traffic: raw HTTP/1.1 as bytes, and what the gateway answered to it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

ANSWER_TIMEOUT = 60.0  # seconds
CLOSED, SILENT = "closed", "no answer"  # instead of a status
MOST_SHOWN = 200  # bytes of a request
FAULT = b"INTERNAL_SERVER_ERROR"


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway under attack, the tokens of a client that may do everything, and names that exist there.

    `honest` is a client whose secret the attacker does not know.
    """

    host: str
    port: int
    token: str
    client: str
    secret: str
    honest: str
    users: Sequence[str]
    items: Sequence[str]

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """A request head without the last blank line."""
        named = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", *lines]
        return "".join(f"{line}\r\n" for line in named).encode("latin-1")

    def request(self, method: str, path: str, body: bytes = b"", *lines: str) -> bytes:
        """A whole request with these header lines."""
        return self.head(method, path, *lines, f"Content-Length: {len(body)}") + b"\r\n" + body

    def post(self, body: bytes | str, path: str = "/graphql", kind: str = "application/json", *lines: str) -> bytes:
        """A POST with the token of the client that may do everything."""
        raw = body.encode() if isinstance(body, str) else body
        return self.request("POST", path, raw, f"Authorization: Bearer {self.token}", f"Content-Type: {kind}", *lines)


@dataclass
class Traffic:
    """One attack while it runs.

    `faults` has the first answers that say that the gateway failed, `unanswered` the beginnings of requests that got
    no answer in time.
    """

    target: Target
    deadline: float  # on the clock of the event loop
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more is to be sent."""
        return asyncio.get_running_loop().time() >= self.deadline

    async def opened(self, address: str = "127.0.0.1") -> "Wire":
        """A new connection from this address of the machine."""
        return Wire(*await asyncio.open_connection(self.target.host, self.target.port, local_addr=(address, 0)))

    async def exchange(self, parts: Iterable[bytes], wire: "Wire | None" = None, address: str = "127.0.0.1") -> bool:
        """Send a request and count the answer. Without a `wire`, on a new connection. Whether it can send another."""
        own, parts = wire is None, list(parts)
        try:
            wire = wire or await self.opened(address)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                head, body = await wire.ask(parts)
        except TimeoutError:
            self.unanswered.append(repr(parts[0][:MOST_SHOWN]))
            return self._count(SILENT, b"")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return self._count(CLOSED, b"")
        finally:
            if own and wire is not None:
                wire.close()
        return self._count(status_of(head), body) and b"connection: close" not in head

    def _count(self, status: str, body: bytes) -> bool:
        self.answers[status] += 1
        if (status == "500" or FAULT in body) and len(self.faults) < 3:
            self.faults.append(f"{status} {body[:300].decode(errors='replace')}")
        return status not in (CLOSED, SILENT)


class Wire:
    """One connection, written and read at the same time: the gateway may refuse before it has read everything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, parts: Iterable[bytes], bodiless: bool = False) -> tuple[bytes, bytes]:
        """Head and body of the answer to one request; the head is in lower case. HEAD gets a `bodiless` answer."""
        sending = asyncio.create_task(self._send(parts))
        try:
            return await self.answer(bodiless)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def answer(self, bodiless: bool = False) -> tuple[bytes, bytes]:
        """Head and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        if bodiless:
            return head, b""
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        return head, await self.reader.readexactly(length)

    def close(self) -> None:
        """Close without waiting."""
        with suppress(OSError, RuntimeError):
            self.writer.transport.abort()

    async def _send(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()


def status_of(head: bytes) -> str:
    """The status in the head of an answer."""
    return head[9:12].decode()


Send = Callable[[Traffic], Awaitable[None]]


def repeated(*requests: bytes, connections: int = 4, address: str = "127.0.0.1") -> Send:
    """Send these requests in turns on some kept-alive connections until the time is over."""

    async def send(traffic: Traffic) -> None:
        turns = itertools.cycle(requests)
        await asyncio.gather(*(_keep_asking(traffic, turns, address) for _ in range(connections)))

    return send


async def _keep_asking(traffic: Traffic, turns: Iterable[bytes], address: str) -> None:
    wire: Wire | None = None
    for request in turns:
        if traffic.over:
            break
        with suppress(OSError):
            wire = wire or await traffic.opened(address)
        if wire is None or not await traffic.exchange([request], wire) or wire.reader.at_eof():
            if wire is not None:
                wire.close()
            wire = None
            await asyncio.sleep(0.001)
    if wire is not None:
        wire.close()


def one_each(*requests: Iterable[bytes], connections: int = 4, address: str = "127.0.0.1") -> Send:
    """As `repeated`, with a new connection for each request; a request is a sequence of parts."""
    kept = [list(parts) for parts in requests]

    async def send(traffic: Traffic) -> None:
        turns = itertools.cycle(kept)

        async def run() -> None:
            for parts in turns:
                if traffic.over:
                    return
                await traffic.exchange(parts, address=address)

        await asyncio.gather(*(run() for _ in range(connections)))

    return send


def once_each(requests: Sequence[bytes], connections: int = 4) -> Send:
    """Send every request once, on kept-alive connections; stops when the time is over."""

    async def send(traffic: Traffic) -> None:
        waiting = iter(requests)
        await asyncio.gather(*(_keep_asking(traffic, waiting, "127.0.0.1") for _ in range(connections)))

    return send
