"""Stores of a test's own that are full: real servers with their own errors, and without root.

A file of Postgres becomes a link to /dev/full, which refuses every write as a full disk does. This covers data that
needs new pages of a table, and temporary files. It does not cover the write-ahead log: without space for it Postgres
ends, and counts as away.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

FULL = Path("/dev/full")
NEXT_PIDS, COUNTERS = 300, 40  # of backends that start next, and temporary files of each


@dataclass
class FullPostgres:
    """A server whose disk is full, as far as some empty tables and its temporary files are concerned."""

    url: str
    tables: tuple[str, ...]
    links: dict[Path, None]

    def fill_temporary_files(self) -> None:
        """Let no backend of now, and none of the next ones, write a temporary file."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET work_mem = '64kB'")
            with suppress(psycopg.errors.DiskFull):
                connection.execute("SELECT count(*) FROM generate_series(1, 20000)")  # makes the folder
            folder = _data(connection) / "base" / "pgsql_tmp"
            running = {row[0] for row in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()}
            own = connection.info.backend_pid
        for pid in running | set(range(own, own + NEXT_PIDS)):
            for number in range(COUNTERS):
                link = folder / f"pgsql_tmp{pid}.{number}"
                with suppress(FileExistsError):
                    link.symlink_to(FULL)
                self.links[link] = None


@contextmanager
def full_postgres(url: str, *tables: str) -> Iterator[FullPostgres]:
    """While the block runs, these tables, which are empty, take no row. Connections stay open."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in tables:
            _relocate(connection, table, full=True)
    found = FullPostgres(url, tables, {})
    try:
        found.fill_temporary_files()
        yield found
    finally:
        for link in found.links:
            link.unlink(missing_ok=True)
        with psycopg.connect(url, autocommit=True) as connection:
            for table in tables:
                _relocate(connection, table, full=False)


@contextmanager
def full_redis(url: str) -> Iterator[None]:
    """While the block runs, the server refuses what needs memory."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


def _relocate(connection: psycopg.Connection[Any], table: str, *, full: bool) -> None:
    """Give a table another file, which no backend has open yet."""
    with connection.transaction():
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
        row = connection.execute("SELECT pg_relation_filepath(%s)", [table]).fetchone()
        assert row is not None
        if full:
            file = _data(connection) / row[0]
            file.unlink()
            file.symlink_to(FULL)


def _data(connection: psycopg.Connection[Any]) -> Path:
    row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    return Path(row[0])
