"""An app behind our HTTP protocol on a real socket. The protocol counts what it parses and keeps."""

import asyncio
from typing import ClassVar

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import RequestRefused
from api.http.connections.protocol import GatewayProtocol

GET = b"GET /first HTTP/1.1\r\nhost: shop\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n"
LARGEST_READ = 262_144  # bytes that asyncio and uvloop read at once
MEGABYTE = b"x" * 1_000_000


class CountedProtocol(GatewayProtocol):
    """Counts what its parser gets, and the most that one connection keeps unparsed."""

    max_connections = 20
    read_timeout = 0.1
    last: ClassVar["CountedProtocol"]
    fed: ClassVar[int] = 0
    kept: ClassVar[int] = 0
    pipelined: ClassVar[int] = 0
    refused: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        CountedProtocol.last = self

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        CountedProtocol.kept = max(CountedProtocol.kept, self.unparsed)
        CountedProtocol.pipelined = max(CountedProtocol.pipelined, len(self.pipeline))

    def _refuse(self, refusal: RequestRefused) -> None:
        CountedProtocol.refused += 1
        super()._refuse(refusal)

    def _feed(self, part: memoryview) -> None:
        CountedProtocol.fed += len(part)
        super()._feed(part)


class App:
    """Answers with the path and the size of the body, when it may."""

    def __init__(self) -> None:
        self.asked: list[Scope] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer: ASGIApp = self._answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope)
        size = len((await receive())["body"])
        await self.may_answer.wait()
        body = f"{scope['path']} {size};".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
