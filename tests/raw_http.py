"""A server on a real socket, and callers that send it bytes as they are."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import orjson
import uvicorn

DEADLINE = 10.0  # seconds a test waits


@asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncIterator[int]:
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(DEADLINE):
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def exchange(port: int, *parts: bytes) -> bytes:
    """Everything the server sends until it closes the connection, even when it stops reading before."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as caller:
        caller.setblocking(False)
        sending = asyncio.create_task(_send(caller, parts))
        answer = b""
        try:
            async with asyncio.timeout(DEADLINE):
                while part := await loop.sock_recv(caller, 65_536):
                    answer += part
        finally:
            sending.cancel()
            await asyncio.wait({sending})
    return answer


async def _send(caller: socket.socket, parts: Iterable[bytes]) -> None:
    with suppress(ConnectionError):
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(caller, part)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code(answer: bytes) -> str:
    """The public code of a refusal in the house's error shape."""
    return str(orjson.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["extensions"]["code"])
