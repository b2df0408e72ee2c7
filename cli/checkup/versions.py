"""The versions of the servers and of the schema, which `penchant up` checks before it starts anything of ours."""

# mypy: allow-untyped-calls
import asyncio
from contextlib import suppress
from datetime import timedelta
from time import perf_counter

from kombu.connection import Connection

from cli.checkup import broker, postgres, redis
from cli.checkup.findings import Finding, address
from core.errors import StoreUnavailable
from db import checkup
from db.cache import connect_redis
from db.postgres import connect_pool

TIMEOUT = 5.0  # seconds


async def check_versions(postgres_url: str, redis_url: str, broker_url: str) -> list[Finding]:
    """One finding for each server that answers, and one about the schema when there is one.

    A server that does not answer has none: Penchant starts without Redis and without the broker.
    Raises StoreUnavailable when Postgres cannot be reached.
    """
    of_postgres, of_redis, of_broker = await asyncio.gather(
        _postgres(postgres_url), _redis(redis_url), asyncio.to_thread(_broker, broker_url)
    )
    return [*of_postgres, *of_redis, *of_broker]


async def _postgres(url: str) -> list[Finding]:
    async with await connect_pool(url, size=1, timeout=TIMEOUT) as pool:
        began = perf_counter()
        server = await checkup.server(pool)
        took = timedelta(seconds=perf_counter() - began)
        found = [postgres.check_version(f"{address(url)}, version {server.version}", server.number, took)]
        if await checkup.revision(pool) is not None:
            found.append(await postgres.check_schema(pool))
        return found


async def _redis(url: str) -> list[Finding]:
    async with connect_redis(url, TIMEOUT) as client:
        began = perf_counter()
        with suppress(StoreUnavailable):
            return [redis.check_version(address(url), await client.info(), perf_counter() - began)]
    return []


def _broker(url: str) -> list[Finding]:
    with Connection(url, connect_timeout=TIMEOUT) as connection, suppress(*_errors_of(connection)):
        connection.connect()
        return [broker.check_version(address(url), connection.connection.server_properties)]
    return []


def _errors_of(connection: Connection) -> tuple[type[Exception], ...]:
    return (*connection.connection_errors, *connection.channel_errors, ValueError)
