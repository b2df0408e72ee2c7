"""The connection to Postgres: one pool per process, jsonb as Python objects, and one error while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, cast, runtime_checkable

import asyncpg
import asyncpg.pool
import orjson

from core.errors import StoreFull, StoreUnavailable

_UNAVAILABLE: Final = (
    OSError,  # TimeoutError is one: the statement took longer than the pool allows
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server ended while a statement was prepared
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
CANCEL_TIMEOUT: Final = 1.0  # seconds to wait until Postgres has ended a statement that was cancelled
POSTGRES_FULL: Final = "Postgres takes no new data: its disk is full."
_CONTENDED: Final = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
_OUTDATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_TRANSLATED: Final = (*_UNAVAILABLE, *_CONTENDED, *_OUTDATED)


class Contended(StoreUnavailable):
    """Another transaction holds a lock that this one needs, so Postgres rolled this one back. Try again."""


class SchemaOutdated(StoreUnavailable):
    """The database's schema is older than this program: run `penchant migrate`."""


class Connection(Protocol):
    """What every function of this folder takes: a pool, a share of one, or a connection inside a transaction."""

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Any]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """The first row or None."""
        ...

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """One value of the first row or None."""
        ...

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run and return the command's tag."""
        ...


@runtime_checkable
class ConnectionSource(Connection, Protocol):
    """A pool or a share of one: each statement may run on another connection."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Any]:
        """A connection for a block."""
        ...


class LeanConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """Needs no reset, and so no round trip, when it is released: no statement here leaves session state behind."""

    def get_reset_query(self) -> str:
        """Nothing to reset."""
        return ""


def _translated(method: str) -> Callable[..., Any]:
    async def call(self: "PooledConnection", *args: Any, **named: Any) -> Any:
        try:
            return await getattr(self.raw, method)(*args, **named)
        except _TRANSLATED as error:
            if isinstance(error, asyncpg.InternalClientError):
                self.raw.terminate()  # it is in a state that no statement leads out of
            raise _unavailable(error) from error

    return call


def _copying(method: str) -> Callable[..., Any]:
    call = _translated(method)

    async def copy(self: "PooledConnection", *args: Any, **named: Any) -> Any:
        try:
            return await call(self, *args, **named)
        except asyncio.CancelledError:
            self.raw.terminate()  # asyncpg leaves it in the middle of the COPY, where not even a ROLLBACK is possible
            raise

    return copy


class PooledConnection:
    """A connection of the pool. Raises StoreUnavailable while Postgres is away, asyncpg's errors about a statement."""

    def __init__(self, connection: Any) -> None:
        self.raw = connection  # asyncpg's own; its errors are not translated

    fetch = _translated("fetch")
    fetchrow = _translated("fetchrow")
    fetchval = _translated("fetchval")
    execute = _translated("execute")
    executemany = _translated("executemany")
    copy_from_query = _copying("copy_from_query")
    copy_to_table = _copying("copy_to_table")

    def transaction(self, **options: Any) -> "_Transaction":
        """A transaction, or a savepoint inside the one already open."""
        return _Transaction(self.raw, self.raw.transaction(**options))


class _Block:
    """An async context manager of asyncpg. Its own errors are translated; errors of the block inside pass unchanged.

    A block that was cancelled stays cancelled, whatever its end raises.
    """

    def __init__(self, inner: Any, wrap: Callable[[Any], Any]) -> None:
        self._inner, self._wrap = inner, wrap

    async def __aenter__(self) -> Any:
        try:
            return self._wrap(await self._inner.__aenter__())
        except _TRANSLATED as error:
            raise _unavailable(error) from error

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._end(*raised)
        except _TRANSLATED as error:
            if isinstance(raised[1], asyncio.CancelledError):
                return
            raise _unavailable(error) from error

    async def _end(self, *raised: Any) -> None:
        await self._inner.__aexit__(*raised)


class _Transaction(_Block):
    """A transaction. It terminates its connection when it cannot be rolled back soon."""

    def __init__(self, raw: Any, inner: Any) -> None:
        super().__init__(inner, lambda _: None)
        self._raw = raw

    async def _end(self, *raised: Any) -> None:
        if raised[0] is None:
            await self._inner.__aexit__(*raised)
            return
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._inner.__aexit__(*raised)
        except TimeoutError:
            self._raw.terminate()
            raise


class Pool(asyncpg.Pool):  # type: ignore[misc]
    """A pool whose connections and statements raise StoreUnavailable while Postgres is away."""

    def acquire(self, *, timeout: float | None = None) -> _Block:
        """A connection for a block, released at its end."""
        return _Block(super().acquire(timeout=timeout), PooledConnection)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """Take a connection back; one whose last statement was cancelled and does not end soon is terminated."""
        await super().release(connection, timeout=timeout or CANCEL_TIMEOUT)


async def connect_pool(url: str, *, size: int = 10, timeout: float = 5.0, connect_timeout: float = 5.0) -> Pool:
    """A pool of at most `size` connections whose statements may take `timeout` seconds.

    Raises StoreUnavailable when Postgres cannot be reached or refuses the login, ValueError for a damaged address.
    """
    try:
        pool = Pool(
            url,
            min_size=min(2, size),
            init_size=min(2, size),
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=0,
            connect=None,
            setup=None,
            init=set_codecs,
            reset=None,
            loop=None,
            connection_class=LeanConnection,
            record_class=asyncpg.Record,
            command_timeout=timeout,
            timeout=connect_timeout,
            server_settings={"timezone": "UTC", "application_name": "penchant"},
        )
        await pool
    except asyncpg.exceptions.ClientConfigurationError:
        raise
    except _UNAVAILABLE as error:
        raise _unavailable(error) from error
    return pool


async def set_codecs(connection: asyncpg.Connection) -> None:
    """Make jsonb columns Python objects on this connection."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_to_jsonb, decoder=_from_jsonb
    )


def _to_jsonb(value: object) -> bytes:
    return b"\x01" + orjson.dumps(value)


def _from_jsonb(value: bytes) -> Any:
    return orjson.loads(memoryview(value)[1:])


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[Connection]:
    """A transaction on a connection of the pool, or a savepoint inside the transaction already open."""
    if isinstance(connection, ConnectionSource):
        async with connection.acquire() as own, own.transaction():
            yield own
    else:
        async with cast(Any, connection).transaction():
            yield connection


def _unavailable(error: BaseException) -> StoreUnavailable:
    if isinstance(error, _OUTDATED):
        return SchemaOutdated("postgres")
    if isinstance(error, _CONTENDED):
        return Contended("postgres")
    if isinstance(error, asyncpg.DiskFullError):
        return StoreFull("postgres", POSTGRES_FULL)
    return StoreUnavailable("postgres", f"Postgres did not answer: {str(error) or type(error).__name__}")
