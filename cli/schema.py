"""`penchant schema`: prints the GraphQL schema, and keeps the committed one true and unbroken."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from core.errors import PenchantError

COMMITTED = Path("schema.graphql")


class SchemaChanged(PenchantError):
    """The committed schema.graphql is not this schema; `penchant schema --write` makes it so."""


class SchemaBroken(PenchantError):
    """Somebody's query would not work any more."""


def schema(
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with schema.graphql, and with the last commit's for broken queries."),
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write schema.graphql.")] = False,
    since: Annotated[str, typer.Option(help="The commit whose schema may not break.")] = "HEAD",
) -> None:
    """Print the schema's definition, or write or check the committed one."""
    from api.graphql.schema import SCHEMA

    text = SCHEMA.as_str().rstrip() + "\n"
    if write:
        COMMITTED.write_text(text)
    elif check:
        check_committed(text, COMMITTED.read_text() if COMMITTED.exists() else "")
        check_unbroken(committed_at(since), text)
    else:
        typer.echo(text, nl=False)


def check_committed(text: str, committed: str) -> None:
    """Raise SchemaChanged when the two differ."""
    if text != committed:
        raise SchemaChanged()


def check_unbroken(old: str | None, new: str) -> None:
    """Raise SchemaBroken naming every change from `old` to `new` that can break a query; no `old`, nothing to break."""
    from graphql import build_schema, find_breaking_changes

    if old is None:
        return
    changes = find_breaking_changes(build_schema(old), build_schema(new))
    if changes:
        raise SchemaBroken(
            "\n  ".join(["Queries written for the last schema break:", *(c.description for c in changes)])
        )


def committed_at(commit: str) -> str | None:
    """The schema of that commit; None when there is no git, no such commit, or no schema in it."""
    asked = ["git", "show", f"{commit}:./{COMMITTED}"]
    try:
        shown = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None
