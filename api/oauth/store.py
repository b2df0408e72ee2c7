"""A few psycopg connections for the threads that run grants, kept open between requests."""

from collections.abc import Callable
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import psycopg

from core.errors import StoreUnavailable

T = TypeVar("T")


class Store:
    """Lends each thread a connection. At most as many are open as threads ask at once."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._idle: LifoQueue[psycopg.Connection[Any]] = LifoQueue()

    def read(self, query: Callable[[psycopg.Connection[Any]], T]) -> T:
        """What `query` answers. Blocks. Raises StoreUnavailable when Postgres does not answer.

        A query that fails is tried once more on a new connection: Postgres may have restarted under an idle one.
        """
        try:
            try:
                return self._on(self._take(), query)
            except psycopg.OperationalError:
                self.close()
                return self._on(self._connect(), query)
        except psycopg.OperationalError as error:
            raise StoreUnavailable("postgres", "Postgres did not answer.") from error

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _on(self, connection: psycopg.Connection[Any], query: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            answer = query(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return answer

    def _take(self) -> psycopg.Connection[Any]:
        try:
            return self._idle.get_nowait()
        except Empty:
            return self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(self._timeout)),
            tcp_user_timeout=round(self._timeout * 1000),
            options=f"-c statement_timeout={round(self._timeout * 1000)}",
            application_name="penchant-oauth",
        )
