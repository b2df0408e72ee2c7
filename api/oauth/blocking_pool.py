"""A small pool of psycopg connections for the threads that run grants."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from db.psycopg_errors import psycopg_errors

T = TypeVar("T")

MAX_WAIT = 2.0  # seconds a thread waits for a connection: a server that refuses connections is noticed by this only


class BlockingPool:
    """A connection per thread: at least one stays open, at most `size` do. Postgres has `timeout` seconds to answer."""

    def __init__(self, url: str, timeout: float, size: int) -> None:
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the caller logs an outage, once
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            url,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,
                "connect_timeout": max(2, round(timeout)),
                "tcp_user_timeout": round(timeout * 1000),
                "options": f"-c statement_timeout={round(timeout * 1000)}",
                "application_name": "penchant-oauth",
            },
            min_size=1,
            max_size=size,
            timeout=min(timeout, MAX_WAIT),
            reconnect_timeout=0,  # the next request tries again: a growing pause would outlast the outage
            open=True,
        )

    def read(self, query: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The result of `query`. Blocks. Raises StoreUnavailable when Postgres does not answer.

        A query that fails is tried once more on a new connection: Postgres may have restarted under an idle one.
        """
        with psycopg_errors():
            try:
                return self._read(query)
            except PoolTimeout:
                raise
            except psycopg.OperationalError:
                self._pool.drain()
                return self._read(query)

    def write(self, statement: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The result of `statement`, which must not run twice: it is not tried again. Otherwise as `read`."""
        with psycopg_errors():
            return self._read(statement)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close(timeout=0)

    def _read(self, query: Callable[[psycopg.Connection[Any]], T]) -> T:
        with self._pool.connection() as connection:
            return query(connection)
