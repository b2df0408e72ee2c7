"""The committed schemas: written, held against what the code says, and against what the last commit promised."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.schemas.compatibility import narrowings
from cli.schemas.event_schemas import FOLDER
from core.errors import PenchantError

if TYPE_CHECKING:
    from graphql import GraphQLSchema

GRAPHQL = Path("schema.graphql")
OPENAPI = Path("openapi.json")
IN_QUERIES = {
    "QUERY",
    "MUTATION",
    "SUBSCRIPTION",
    "FIELD",
    "FRAGMENT_DEFINITION",
    "FRAGMENT_SPREAD",
    "INLINE_FRAGMENT",
    "VARIABLE_DEFINITION",
}
"""The places of directives in operations and fragments."""


class SchemaChanged(PenchantError):
    """The committed schemas are not the ones of the code; `penchant schema --write` writes them."""


class SchemaBroken(PenchantError):
    """A query or an event that was valid before would be refused."""


def write_files(files: Mapping[Path, str]) -> None:
    """Write them, and remove the event schemas that are not among them."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in set(FOLDER.glob("*/*.json")) - files.keys():
        path.unlink()


def committed_files() -> dict[Path, str]:
    """The schemas in the working folder, by path."""
    paths = [GRAPHQL, OPENAPI, *sorted(FOLDER.glob("*/*.json"))]
    return {path: path.read_text() for path in paths if path.exists()}


def check_committed(files: Mapping[Path, str], committed: Mapping[Path, str]) -> None:
    """Raise SchemaChanged naming the files that differ, are missing or should not exist."""
    differing = sorted(str(path) for path in files.keys() | committed.keys() if files.get(path) != committed.get(path))
    if differing:
        raise SchemaChanged(f"{', '.join(differing)}: {SchemaChanged.__doc__}")


def check_graphql_unbroken(old: str | None, new: str) -> None:
    """Raise SchemaBroken naming every change that can break a query; without an `old` schema nothing can break.

    A directive that only definitions may have cannot be in a query, so it may change and go.
    """
    from graphql import find_breaking_changes

    if old is None:
        return
    changes = find_breaking_changes(_for_queries(old), _for_queries(new))
    if changes:
        raise SchemaBroken(
            "\n  ".join(["Queries written for the last schema break:", *(c.description for c in changes)])
        )


def _for_queries(sdl: str) -> "GraphQLSchema":
    """The schema, without the directives that no query can have."""
    from graphql import GraphQLSchema, build_schema

    schema = build_schema(sdl)
    parts: Any = schema.to_kwargs()
    directives = [one for one in schema.directives if any(place.name in IN_QUERIES for place in one.locations)]
    return GraphQLSchema(**{**parts, "directives": directives})


def check_events_unbroken(old: Mapping[Path, str], new: Mapping[Path, str]) -> None:
    """Raise SchemaBroken naming every change that refuses an event its version accepted; a new version may."""
    broken = [f"{path}: {change}" for path, text in old.items() for change in _changes(text, new.get(path))]
    if broken:
        raise SchemaBroken(
            "\n  ".join(["Events that were accepted would be refused; that needs a new version:", *sorted(broken)])
        )


def _changes(old: str, new: str | None) -> list[str]:
    return ["the type is gone"] if new is None else list(narrowings(json.loads(old), json.loads(new)))


def committed_at(commit: str, path: Path = GRAPHQL) -> str | None:
    """The file in that commit; None without git, such a commit, or such a file in it."""
    return _git("show", f"{commit}:./{path}")


def events_committed_at(commit: str) -> dict[Path, str]:
    """The event schemas in that commit; none without git or such a commit."""
    listed = _git("ls-tree", "-r", "--name-only", commit, f"{FOLDER}/") or ""
    paths = [Path(line) for line in listed.splitlines() if line.endswith(".json")]
    return {path: committed_at(commit, path) or "{}" for path in paths}


def _git(*words: str) -> str | None:
    try:
        shown = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None
