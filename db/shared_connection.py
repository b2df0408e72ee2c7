"""One connection to Redis for the short commands of all requests: sent together, and answered in the same order.

redis-py opens it, with everything that its URL says, and then a protocol of our own reads and writes: a connection of
redis-py's pool costs three times as much CPU for each answer, and several rounds of the event loop more.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from core.single_flight import SingleFlight
from db.redis_link import Answers, Command, ConnectionLost, Link, TooManyWaiting

FIRST_PAUSE: Final = 0.05  # seconds between the second failure to open a connection and the next try; then it doubles
LONGEST_PAUSE: Final = 1.0  # seconds


class SharedConnection:
    """Sends commands on one connection, and opens another when it is lost. Nothing is opened until it is used.

    A caller that is cancelled leaves the others alone. When an answer takes longer than `timeout` seconds, the
    connection is closed and all who wait get an error. After two failures in a row nobody waits for a new connection:
    all get an error at once, and it is opened beside them, with longer and longer pauses that differ by process.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool, self._timeout = pool, timeout
        self._link: Link | None = None
        self._opening: SingleFlight[None, Link] = SingleFlight(self._open)
        self._failures = 0  # in a row
        self._next_try = 0.0  # by the clock of the event loop
        self._closed = False

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are sent together. Raises RedisError and OSError, as a client of the pool."""
        try:
            return await (await self._opened()).ask(commands)
        except ConnectionLost:  # perhaps the server had closed a connection that was idle
            return await (await self._opened()).ask(commands)

    def ask_now(self, commands: Sequence[Command]) -> Answers | None:
        """Send commands on the open connection: the answers that will come. None when it takes none; `ask` says why.

        What is wrong later is in the answers; a connection that is lost is not opened again.
        """
        link = self._link
        try:
            return None if link is None or link.lost else link.ask(commands)
        except TooManyWaiting:
            return None

    async def close(self) -> None:
        """Close the connection for good. Whoever waits for an answer gets an error."""
        self._closed = True
        opening = self._opening.cancel()
        if opening:
            await asyncio.wait(opening)
        if self._link is not None:
            await self._link.close()

    async def _opened(self) -> Link:
        """The open connection, or a new one. Raises at once while it is known that the server is away."""
        if self._link is not None and not self._link.lost:
            return self._link
        if self._closed:
            raise RedisConnectionError("The connection was closed.")
        if self._failures < 2:
            async with asyncio.timeout(self._timeout):
                return await self._opening.result(None)
        if asyncio.get_running_loop().time() >= self._next_try:
            self._opening.start(None)
        raise RedisConnectionError("Redis was away a moment ago.")

    async def _open(self, _: None) -> Link:
        """Open a connection. It may take longer than a caller waits: a new server's old data is dropped first."""
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            self._link = Link(connection, self._timeout)
        except BaseException:
            connection._close()  # type: ignore[no-untyped-call]
            self._failures += 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 2, 10))
            pause *= random.uniform(0.5, 1)  # noqa: S311 - no secret
            self._next_try = asyncio.get_running_loop().time() + pause
            raise
        self._failures = 0
        return self._link
