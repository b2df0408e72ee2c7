"""The connection to Postgres: one pool per process, jsonb as Python objects, times in UTC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import asyncpg
import orjson

from core.errors import StoreUnavailable

UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InvalidCatalogNameError)


class Connection(Protocol):
    """What every function of this folder accepts: a pool, or a connection inside a transaction."""

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


class LeanConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """Costs no round trip when given back: nothing here leaves session state behind."""

    def get_reset_query(self) -> str:
        """Nothing to reset."""
        return ""


async def connect_pool(url: str, *, size: int = 10, timeout: float = 5.0, connect_timeout: float = 5.0) -> asyncpg.Pool:
    """A pool of at most `size` connections whose statements may take `timeout` seconds.

    Raises StoreUnavailable when Postgres cannot be reached or refuses the login.
    """
    try:
        return await asyncpg.create_pool(
            url,
            min_size=min(2, size),
            max_size=size,
            command_timeout=timeout,
            timeout=connect_timeout,
            max_inactive_connection_lifetime=0,
            connection_class=LeanConnection,
            server_settings={"timezone": "UTC", "application_name": "penchant"},
            init=set_codecs,
        )
    except (*UNREACHABLE, asyncpg.InvalidAuthorizationSpecificationError, TimeoutError) as error:
        raise StoreUnavailable(f"Postgres did not answer: {error or type(error).__name__}") from error


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
    if isinstance(connection, asyncpg.Pool):
        async with connection.acquire() as own, own.transaction():
            yield own
    else:
        async with cast(Any, connection).transaction():
            yield connection
