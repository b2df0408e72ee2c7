"""A real HTTP server that receives webhooks, and answers as a test says."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

KEY, OTHER_KEY = "whsec_" + "a2V5" * 8, "whsec_" + "b3Ro" * 8  # secrets that sign
HANG = b""  # an answer that never comes


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.headers["webhook-id"]

    @property
    def keys(self) -> list[str]:
        """The keys to drop."""
        data: dict[str, Any] = orjson.loads(self.body)["data"]
        return list(data["keys"])


@dataclass
class Receiver:
    """Its address, what it received, and the answers it still gives; after them it answers 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: deque[bytes] = field(default_factory=deque)

    def will_answer(self, *answers: int | bytes) -> None:
        """Give these statuses, or these bytes, in their order."""
        self.answers += [
            b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % one if isinstance(one, int) else one for one in answers
        ]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(Received(headers, body))
            answer = self.answers.popleft() if self.answers else b"HTTP/1.1 204 X\r\n\r\n"
            if answer == HANG:
                await reader.read()  # until the caller gives up
            writer.write(answer)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver._answer, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/purge"
    try:
        yield receiver
    finally:
        server.close()
