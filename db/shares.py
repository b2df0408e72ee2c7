"""The shares of a pool: people, bulk and expensive reads each have connections that the others cannot take."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import RateLimited, Unanswerable
from db.postgres import ConnectionSource, Pool

PEOPLE_WAITING: Final = 256
BULK_WAITING: Final = 64
EXPENSIVE_WAITING: Final = 128
CALLER_WAITING: Final = 64  # more than the fields of one operation can ask for


class ShareFull(Unanswerable):
    """Too many such requests wait for Postgres: try again in a moment."""

    def __init__(self) -> None:
        super().__init__("postgres", (ShareFull.__doc__ or "").strip())


class Share:
    """Connections of `source`, at most so many at a time. Each may be used wherever a pool may.

    Statements may take `timeout` seconds unless they are given another time; None: as long as the pool allows. Every
    call also raises what the bulkhead refuses with.
    """

    def __init__(self, source: ConnectionSource, bulkhead: Bulkhead, *, timeout: float | None = None) -> None:
        self._source, self.bulkhead, self._timeout = source, bulkhead, timeout

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Any]:
        """All rows."""
        async with self.bulkhead.place():
            return await self._source.fetch(query, *args, timeout=timeout or self._timeout)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """The first row or None."""
        async with self.bulkhead.place():
            return await self._source.fetchrow(query, *args, timeout=timeout or self._timeout)

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """One value of the first row or None."""
        async with self.bulkhead.place():
            return await self._source.fetchval(query, *args, column=column, timeout=timeout or self._timeout)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run and return the command's tag."""
        async with self.bulkhead.place():
            return await self._source.execute(query, *args, timeout=timeout or self._timeout)

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Any]:
        """A connection for a block, released at its end."""
        async with self.bulkhead.place(), self._source.acquire(timeout=timeout) as connection:
            yield connection


class ExpensiveReads(Share):
    """The share of expensive reads. Each caller has a share of it, so that no caller can fill it."""

    def __init__(self, pool: Pool, most: int, *, patience: float, timeout: float) -> None:
        bulkhead = Bulkhead(most, waiting=EXPENSIVE_WAITING, patience=patience, refuse=ShareFull)
        super().__init__(pool, bulkhead, timeout=timeout)
        own = partial(Bulkhead, max(1, most - 1), waiting=CALLER_WAITING, patience=patience, refuse=RateLimited)
        self._callers = CallerBulkheads(own)

    def of(self, caller: Hashable) -> Share:
        """The share of this caller: a place less than there are. Beyond `CALLER_WAITING` it raises RateLimited."""
        return Share(self, self._callers.of(caller))


class Shares(NamedTuple):
    """The shares of one pool.

    What uses the pool itself (tokens, the serving row, the catalogue, health) finds a connection that no share may
    take. A pool of fewer than four connections has none to spare: there it waits for a statement of a share.
    """

    people: Share  # states of people, and the intake of events: what every answer needs
    bulk: Share  # other writes, and the drain of the outbox
    expensive: ExpensiveReads  # what reads many rows, or what no answer needs at once


def share_out(pool: Pool, timeout: float) -> Shares:
    """The shares of a pool whose statements may take `timeout` seconds.

    An expensive read waits and runs less long than a request may, so that the rest of the request is answered.
    """
    size: int = pool.get_max_size()

    def tenths(count: int) -> int:
        return max(1, count * size // 10)

    def share(most: int, waiting: int, patience: float) -> Share:
        return Share(pool, Bulkhead(most, waiting=waiting, patience=patience, refuse=ShareFull))

    return Shares(
        people=share(tenths(4), PEOPLE_WAITING, 0.3 * timeout),
        bulk=share(tenths(2), BULK_WAITING, 0.5 * timeout),
        expensive=ExpensiveReads(pool, tenths(3), patience=0.15 * timeout, timeout=0.6 * timeout),
    )
