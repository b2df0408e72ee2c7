"""One connection to Redis for the reads of all requests: they are sent together, and answered in the same order.

A pool takes a connection, a task and a lock for each read, and so several rounds of the event loop more. On a busy loop
the rounds are what a request waits for.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from core.single_flight import SingleFlight
from core.tasks import end

Command = tuple[Any, ...]


class SharedConnection:
    """Sends commands on one connection, and opens another when it is lost. Nothing is opened until it is used.

    A caller that is cancelled leaves the others alone. When an answer takes too long, the connection is closed, so that
    nobody waits behind it.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool, self._timeout = pool, timeout
        self._link: _Link | None = None
        self._opening: SingleFlight[str, _Link] = SingleFlight(self._open)
        self._closed = False

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are sent together. Raises RedisError and OSError, as a client of the pool."""
        try:
            return await self._ask(commands)
        except RedisConnectionError:  # perhaps the server had closed a connection that was idle
            return await self._ask(commands)

    async def close(self) -> None:
        """Close the connection for good. Whoever waits for an answer gets an error."""
        self._closed = True
        await end(self._opening.cancel())
        if self._link is not None:
            await self._link.close()

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        link = None
        try:
            async with asyncio.timeout(self._timeout):
                link = await self._opened()
                return await link.ask(commands)
        except TimeoutError:
            if link is not None:
                link.drop()
            raise

    async def _opened(self) -> "_Link":
        if self._link is not None and not self._link.lost:
            return self._link
        if self._closed:
            raise RedisConnectionError("The connection was closed.")
        return await self._opening.result("the only one")

    async def _open(self, _: str) -> "_Link":
        """Open a connection. It may take longer than a caller waits: a new server's old data is dropped first."""
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        connection.socket_timeout = None  # `ask` limits the time; a task for each command is not needed
        self._link = _Link(connection)
        return self._link


class _Link:
    """An open connection, and who waits for its answers. A lost one is never opened again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int]] = deque()  # with the number of commands
        self._unsent: list[bytes] = []
        self._dropped = False
        self._reading = asyncio.create_task(self._read())

    @property
    def lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._dropped or self._reading.done() or not self._connection.is_connected

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to these commands."""
        if self.lost:
            raise RedisConnectionError("The connection was lost.")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        if not self._unsent:
            loop.call_soon(self._send)
        self._unsent += self._connection.pack_commands(commands)
        self._waiting.append((answer, len(commands)))
        try:
            return await answer
        finally:
            answer.cancel()  # if nobody waits for it any more

    def _send(self) -> None:
        """Write the commands of all callers of this round of the event loop at once.

        `send_packed_command` would take a task, and more rounds. What cannot be written is found by the reader.
        """
        unsent, self._unsent = self._unsent, []
        if (stream := self._connection._writer) is not None:
            stream.writelines(unsent)

    def drop(self) -> None:
        """Close the connection soon."""
        self._dropped = True
        self._reading.cancel()

    async def close(self) -> None:
        """Close the connection."""
        self._dropped = True
        await end([self._reading])

    async def _read(self) -> None:
        """Give each caller its answers, until the connection is lost or dropped."""
        try:
            while True:
                answers = [await self._next()]
                if not self._waiting:
                    return  # nobody asked
                answer, count = self._waiting[0]
                while len(answers) < count:
                    answers.append(await self._next())
                self._waiting.popleft()
                _settle(answer, answers)
        except (RedisError, OSError):
            return
        finally:
            self._dropped = True
            await self._connection.disconnect(nowait=True)
            for answer, _ in self._waiting:
                if not answer.done():
                    answer.set_exception(RedisConnectionError("The connection was lost."))

    async def _next(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=math.inf)
        except ResponseError as error:
            return error


def _settle(answer: asyncio.Future[list[Any]], answers: list[Any]) -> None:
    if answer.done():  # its caller was cancelled
        return
    error = next((found for found in answers if isinstance(found, ResponseError)), None)
    if error is None:
        answer.set_result(answers)
    else:
        answer.set_exception(error)
