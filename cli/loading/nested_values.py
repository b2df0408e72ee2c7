"""Columns from records with nested values, by the paths that a recipe names."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import orjson
import pyarrow as pa

from cli.loading.chunks import NESTED, WrongFile
from cli.loading.paths import EVERY, Path, value_at, values_at

_EXACT: Final = 2.0**53  # up to it a float holds every whole number


def columns_of(records: Sequence[Mapping[str, Any]], paths: Mapping[str, Path]) -> dict[str, pa.Array]:
    """A column for each path: texts, or lists of texts, equally long in a record, where the path goes through a list.

    A value that is not plain is its JSON text behind NESTED.
    """
    columns = {
        name: pa.array([text_of(value) for value in _values(records, path)], pa.string())
        for name, path in paths.items()
        if EVERY not in path
    }
    listed = {name: path for name, path in paths.items() if EVERY in path}
    return {**columns, **_listed(records, listed)} if listed else columns


def text_of(value: Any) -> str | None:
    """A value as a CSV file writes it."""
    if value is None or type(value) is str:
        return value
    if type(value) is float:
        return _float_text(value)
    if isinstance(value, dict | list):
        return NESTED + orjson.dumps(value, default=str).decode()
    return orjson.dumps(value).decode() if isinstance(value, bool | int) else str(value)


def check_one_list(paths: Mapping[str, Path]) -> None:
    """Raise WrongFile for paths through different lists: only those of one can make the lines."""
    leads = sorted({_levels(path)[0] for path in paths.values() if EVERY in path}, key=len)
    for short, long in pairwise(leads):
        if long[: len(short)] != short:
            names = " and ".join(repr(name) for name, path in paths.items() if _levels(path)[0] in (short, long))
            raise WrongFile(
                f"the recipe reads {names}, which are in different lists; the values of one list make lines"
            )


def _values(records: Sequence[Mapping[str, Any]], path: Path) -> list[Any]:
    if len(path) == 1:
        name = path[0]
        return [record.get(name) for record in records]
    return [value_at(record, path) for record in records]


def _float_text(value: float) -> str | None:
    if value != value:  # NaN
        return None
    if value.is_integer():
        return str(int(value)) if abs(value) <= _EXACT else f"{NESTED}{value!r}"
    return repr(value)


def _listed(records: Sequence[Mapping[str, Any]], paths: Mapping[str, Path]) -> dict[str, pa.Array]:
    """The columns whose paths go through a list, or through one inside another."""
    longest = max((_levels(path)[0] for path in paths.values()), key=len)
    rows = [_rows(record, longest) for record in records]
    return {
        name: pa.array(
            [[text_of(value_at(row[path.count(EVERY)], _levels(path)[1])) for row in each] for each in rows],
            pa.list_(pa.string()),
        )
        for name, path in paths.items()
    }


def _rows(record: Mapping[str, Any], lead: Path) -> list[tuple[Any, ...]]:
    """The lines that a record makes: the record, and the value of each list on the way that belongs to the line."""
    rows: list[tuple[Any, ...]] = [(record,)]
    while lead:
        cut = lead.index(EVERY)
        rows = [(*row, value) for row in rows for value in values_at(row[-1], lead[:cut])]
        lead = lead[cut + 1 :]
    return rows


def _levels(path: Path) -> tuple[Path, Path]:
    """The part of a path up to its last list, and the part behind it."""
    cut = len(path) - path[::-1].index(EVERY) if EVERY in path else 0
    return path[:cut], path[cut:]
