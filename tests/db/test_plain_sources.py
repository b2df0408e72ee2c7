"""The record of the upgrade to sources with namespaces."""

from datetime import timedelta

import psycopg

from core import clock
from db import migrate
from db.plain_sources import plain_sources_until
from db.postgres import connect_pool


async def test_the_migration_of_a_database_with_events_records_until_when_old_gateways_may_send(
    empty_database: str,
) -> None:
    migrate.upgrade(empty_database, "0008")
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO events (source, id, occurred_at, type, user_id, digest)"
            " VALUES ('shop', 'e', now(), 'VIEW', 'u', 1)"
        )
        (rows,) = connection.execute("SELECT events::text FROM events").fetchall()
    migrate.upgrade(empty_database)
    async with await connect_pool(empty_database, size=1) as pool:
        until = await plain_sources_until(pool)
        assert until is not None and timedelta(days=6) < until - clock.now() < timedelta(days=8)
        assert await pool.fetchval("SELECT events::text FROM events") == rows[0], "stored rows stay as they are"


async def test_a_new_database_looks_nothing_up(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    async with await connect_pool(empty_database, size=1) as pool:
        assert await plain_sources_until(pool) is None
