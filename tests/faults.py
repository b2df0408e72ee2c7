"""A network that can be cut, and waiting for a condition."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit


async def eventually(holds: Callable[[], Awaitable[bool] | bool], within: float = 30.0) -> None:
    """Return as soon as the condition holds; fail when it does not hold within so many seconds.

    The condition is a function, or a coroutine function. It is for what sends no signal that could be awaited.
    """
    async with asyncio.timeout(within):
        while not (held if isinstance(held := holds(), bool) else await held):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Relay:
    """A loopback port in front of a real server: `open` lets connections through, `close` cuts them all.

    With `mute` it accepts connections and never answers them. `passed` are the last pieces that went through, with
    whether the client sent it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._url = url.replace(f":{parts.port}/", ":{port}/")
        self._port = 0
        self._server: asyncio.Server | None = None
        self._closing = False
        self._streams: set[asyncio.StreamWriter] = set()
        self.passed: deque[tuple[bool, bytes]] = deque(maxlen=1_000)

    async def reserve(self) -> str:
        """Choose the port, without listening on it; the server's URL through it."""
        await self.open()
        await self.close()
        return self._url.format(port=self._port)

    async def open(self, *, mute: bool = False) -> str:
        """Listen, on the same port as before; the server's URL through it."""
        serve = self._swallow if mute else self._forward
        self._server = await asyncio.start_server(serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self._url.format(port=self._port)

    async def mute(self) -> None:
        """Keep the open connections, and never answer new ones."""
        if self._server is not None:
            self._server.close()
        await self.open(mute=True)

    async def close(self) -> None:
        """Cut every connection and refuse new ones."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        for stream in list(self._streams):
            stream.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()
        self._server, self._closing = None, False

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._streams.add(server_writer)
        if self._closing:  # it began before, and would keep the server from closing
            writer.transport.abort()
            server_writer.transport.abort()
        with suppress(OSError):
            sent, answered = self._pump(reader, server_writer, True), self._pump(server_reader, writer, False)
            await asyncio.gather(sent, answered)

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        with suppress(OSError):
            while await reader.read(65_536):
                continue

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by_client: bool) -> None:
        try:
            while data := await reader.read(65_536):
                self.passed.append((by_client, data))
                writer.write(data)
                await writer.drain()
        finally:
            self._streams.discard(writer)
            writer.transport.abort()
