"""Migrations only add: what a release wrote and read before, it writes and reads after the next release's migration."""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from alembic.script import ScriptDirectory

from db import migrate

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions("base", "head")))
]
CONTRACTING: frozenset[str] = frozenset()  # revisions that drop what the release before no longer uses
PAIRS = [pair for pair in pairwise(REVISIONS) if pair[1] not in CONTRACTING]
CONTRACTS = re.compile(
    r"\bDROP\b|\bRENAME\b|\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b|\bSET\s+NOT\s+NULL\b|\bTRUNCATE\b"
    r"|(?<!\bON )(?<!\bOR )\bDELETE\b",  # ON DELETE says what a foreign key does, OR DELETE when a trigger runs
    re.IGNORECASE,
)
ADDS_WHAT_MUST_BE_GIVEN = re.compile(r"\bADD\s+COLUMN\b(?![^;,]*\bDEFAULT\b)[^;,]*\bNOT\s+NULL\b", re.IGNORECASE)


class Column(NamedTuple):
    """The type of a column, and what it requires of writers."""

    type: str
    may_be_left_out: bool


class Shape(NamedTuple):
    """Columns and constraints by name."""

    columns: dict[str, Column]
    constraints: dict[str, str]


def shape(url: str) -> Shape:
    """The columns and constraints of all tables, without the months of the events."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod),"
            " NOT attnotnull OR atthasdef OR attidentity <> ''"
            " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
            " AND attnum > 0 AND NOT attisdropped"
        ).fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 0"
            " UNION ALL SELECT tablename || '.' || indexname || ' (index)', indexdef FROM pg_indexes"
            " WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%'"
        ).fetchall()
    return Shape({name: Column(kind, free) for name, kind, free in columns}, dict(constraints))


def upgrade_of(revision: str) -> str:
    """The statements that go up: the SQL file, and the code before `downgrade`. Comments are left out."""
    (code,) = (migrate.MIGRATIONS / "versions").glob(f"{revision}_*.py")
    statements = code.with_suffix(".sql").read_text() if code.with_suffix(".sql").exists() else ""
    up = code.read_text().partition("def upgrade")[2].partition("def downgrade")[0]
    return re.sub(r"--[^\n]*", "", statements) + up


@pytest.mark.parametrize("revision", [after for _, after in PAIRS])
def test_a_migration_has_no_statement_that_removes_something(revision: str) -> None:
    statements = upgrade_of(revision)
    assert not CONTRACTS.search(statements), CONTRACTS.search(statements)
    assert not ADDS_WHAT_MUST_BE_GIVEN.search(statements)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t DROP COLUMN c",
        "ALTER TABLE t RENAME COLUMN c TO d",
        "ALTER TABLE t ALTER COLUMN c TYPE bigint",
        "ALTER TABLE t ALTER c SET NOT NULL",
        "ALTER TABLE t ADD COLUMN c text NOT NULL",
    ],
)
def test_statements_that_remove_something_are_recognized(statement: str) -> None:
    assert CONTRACTS.search(statement) or ADDS_WHAT_MUST_BE_GIVEN.search(statement)


def test_a_column_with_a_default_may_be_added() -> None:
    assert not ADDS_WHAT_MUST_BE_GIVEN.search("ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT ''")


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_existing_columns_stay_and_new_ones_are_optional(empty_database: str, before: str, after: str) -> None:
    migrate.upgrade(empty_database, before)
    old = shape(empty_database)
    migrate.upgrade(empty_database, after)
    new = shape(empty_database)
    assert old.columns.items() <= new.columns.items()
    assert old.constraints.items() <= new.constraints.items()
    tables = {name.partition(".")[0] for name in old.columns}
    added = {name: column for name, column in new.columns.items() if name not in old.columns}
    for name, column in added.items():
        assert column.may_be_left_out or name.partition(".")[0] not in tables, name
    for name, rule in new.constraints.items():
        if name not in old.constraints and (table := name.partition(".")[0]) in tables:
            fresh = [each.partition(".")[2] for each in added if each.startswith(f"{table}.")]
            assert any(re.search(rf"\b{column}\b", rule) for column in fresh), (
                f"{name} binds rows written before: {rule}"
            )


def test_every_revision_has_a_file_and_follows_the_one_before() -> None:
    files = sorted(file.name[:4] for file in Path(migrate.MIGRATIONS, "versions").glob("[0-9]*.py"))
    assert files == REVISIONS
