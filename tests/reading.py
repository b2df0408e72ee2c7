"""Reads files as `penchant load` does, without storing them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cli.loading.chunks import Chunk
from cli.loading.columns import Kind
from cli.loading.encodings import FOUND
from cli.loading.files import Reading, chunks_of
from cli.loading.recipes import read_recipe

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"


def read(text: str | Path, file: Path, kind: Kind = Kind.EVENTS, moved: timedelta = timedelta()) -> list[Chunk]:
    """The chunks of a file, read by the recipe."""
    path = text if isinstance(text, Path) else Path("recipe.toml")
    if isinstance(text, str):
        path.write_text(text)
    recipe = read_recipe(path, kind)
    zone = ZoneInfo(recipe.timezone) if recipe.timezone else None
    reading = Reading(zone, recipe.encoding or FOUND, recipe.delimiter, recipe)
    with chunks_of(file, kind, reading, moved) as chunks:
        return list(chunks)


def read_by_name(file: Path, kind: Kind = Kind.ITEMS, encoding: str = FOUND) -> list[Chunk]:
    """The chunks of a file whose columns have our names."""
    with chunks_of(file, kind, Reading(encoding=encoding)) as chunks:
        return list(chunks)


def records(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    """The lines as their sender could have written them."""
    return [chunk.record(place) for chunk in chunks for place in range(len(chunk.lines))]


def column(chunks: Sequence[Chunk], name: str) -> list[Any]:
    """One value of each line, None where it has none."""
    return [record.get(name) for record in records(chunks)]


def rejects(chunks: Sequence[Chunk]) -> list[tuple[int, str | None]]:
    """Line and field of each reject."""
    return [(reject.line, reject.field) for chunk in chunks for reject in chunk.rejects]


def skipped(chunks: Sequence[Chunk]) -> Mapping[str, int]:
    """How many lines the rules of each column left out, in a file of one chunk."""
    (found,) = [chunk.skipped for chunk in chunks if chunk.skipped]
    return found
