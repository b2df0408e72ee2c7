"""Migrations go up, down and up again, and two at once do no harm."""

import subprocess
import sys

import psycopg
import pytest

from core.errors import StoreUnavailable
from db import migrate


def relations(url: str) -> dict[str, str]:
    """Every relation, function and type of ours, with what defines it."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'penchant_version'"
        ).fetchall()
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'penchant_version'"
        ).fetchall()
        functions = connection.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()
        types = connection.execute(
            "SELECT typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'"
        ).fetchall()
    return dict(columns + indexes + functions + types)


def test_a_downgrade_leaves_nothing_and_a_second_upgrade_gives_the_same_schema(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    first = relations(empty_database)
    migrate.downgrade(empty_database, "base")
    between = relations(empty_database)
    migrate.upgrade(empty_database)
    assert "events.occurred_at" in first
    assert between == {}
    assert relations(empty_database) == first


def test_two_deployments_at_once_are_harmless(empty_database: str) -> None:
    program = [sys.executable, "-c", f"from db import migrate; migrate.upgrade({empty_database!r})"]
    deployments = [subprocess.Popen(program) for _ in range(3)]
    assert [deployment.wait(timeout=60) for deployment in deployments] == [0, 0, 0]
    with psycopg.connect(empty_database) as connection:
        versions = connection.execute("SELECT version_num FROM penchant_version").fetchall()
    assert versions == [(migrate.head(),)]


def test_an_upgrade_gives_up_on_a_table_it_cannot_lock_soon(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    with psycopg.connect(empty_database) as shop:
        shop.execute("LOCK TABLE events IN ACCESS SHARE MODE")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            migrate.downgrade(empty_database, "base")


def test_an_unreachable_server_is_named_in_the_error() -> None:
    with pytest.raises(StoreUnavailable, match="Postgres did not answer"):
        migrate.upgrade("postgresql://nobody@127.0.0.1:1/none")


def test_partitions_are_made_once_for_every_month_of_a_span(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    ask = "SELECT ensure_event_partitions('1990-01-15T00:00:00Z', '1991-01-01T00:00:00Z')"
    with psycopg.connect(empty_database) as connection:
        assert connection.execute(ask).fetchone() == (13,)
        assert connection.execute(ask).fetchone() == (0,)
        connection.execute(
            "INSERT INTO events (source, id, occurred_at, type, digest)"
            " VALUES ('s', '1', '1990-12-31T23:59:59Z', 'VIEW', 1)"
        )
        assert connection.execute("SELECT tableoid::regclass::text FROM events").fetchone() == ("events_1990_12",)
