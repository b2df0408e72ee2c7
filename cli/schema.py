"""`penchant schema`: prints the GraphQL schema, and keeps it and the events' JSON Schemas true and unbroken."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.event_schemas import FOLDER, event_schemas
from cli.narrowing import narrowings
from core.errors import PenchantError

COMMITTED = Path("schema.graphql")


class SchemaChanged(PenchantError):
    """What is committed is not what the code says; `penchant schema --write` makes it so."""


class SchemaBroken(PenchantError):
    """Somebody's query, or somebody's event, would not work any more."""


def schema(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Compare with schema.graphql and schemas/, and with the last commit's for what breaks."
        ),
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write schema.graphql and schemas/.")] = False,
    since: Annotated[str, typer.Option(help="The commit whose schemas may not break.")] = "HEAD",
) -> None:
    """Print the GraphQL schema's definition, or write or check the committed schemas."""
    from api.graphql.schema import SCHEMA

    files = {COMMITTED: SCHEMA.as_str().rstrip() + "\n", **event_schemas()}
    if write:
        write_files(files)
    elif check:
        check_committed(files, files_in([COMMITTED, *sorted(FOLDER.glob("*/*.json"))]))
        check_unbroken(committed_at(since), files[COMMITTED])
        check_events_unbroken(events_committed_at(since), files)
    else:
        typer.echo(files[COMMITTED], nl=False)


def write_files(files: Mapping[Path, str]) -> None:
    """Write them, and remove the event schemas that are not among them."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in set(FOLDER.glob("*/*.json")) - files.keys():
        path.unlink()


def files_in(paths: Iterable[Path]) -> dict[Path, str]:
    """The files there are, by their paths."""
    return {path: path.read_text() for path in paths if path.exists()}


def check_committed(files: Mapping[Path, str], committed: Mapping[Path, str]) -> None:
    """Raise SchemaChanged naming the files that differ, are missing or should not be there."""
    differing = sorted(str(path) for path in files.keys() | committed.keys() if files.get(path) != committed.get(path))
    if differing:
        raise SchemaChanged(f"{', '.join(differing)}: {SchemaChanged.__doc__}")


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


def check_events_unbroken(old: Mapping[Path, str], new: Mapping[Path, str]) -> None:
    """Raise SchemaBroken naming every change that refuses an event its version took; a new version is free to."""
    broken = [f"{path}: {change}" for path, text in old.items() for change in _changes(text, new.get(path))]
    if broken:
        raise SchemaBroken(
            "\n  ".join(["Events that were taken would be refused; that needs a new version:", *sorted(broken)])
        )


def _changes(old: str, new: str | None) -> list[str]:
    return ["the type is gone"] if new is None else list(narrowings(json.loads(old), json.loads(new)))


def committed_at(commit: str, path: Path = COMMITTED) -> str | None:
    """The file of that commit; None when there is no git, no such commit, or no such file in it."""
    return _git("show", f"{commit}:./{path}")


def events_committed_at(commit: str) -> dict[Path, str]:
    """The event schemas of that commit; none when there is no git or no such commit."""
    listed = _git("ls-tree", "-r", "--name-only", commit, f"{FOLDER}/") or ""
    paths = [Path(line) for line in listed.splitlines() if line.endswith(".json")]
    return {path: committed_at(commit, path) or "{}" for path in paths}


def _git(*words: str) -> str | None:
    try:
        shown = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None
