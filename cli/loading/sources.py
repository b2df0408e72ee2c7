"""The columns that a recipe reads, found in one file: by their names, or by paths into nested values."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import pyarrow as pa

from cli.loading.chunks import SAMPLE, WrongFile
from cli.loading.columns import listed, shown
from cli.loading.nested_values import check_one_list, columns_of
from cli.loading.paths import EVERY, Path, occurs, path_of, paths_in

_SHOWN: Final = 100  # records whose paths an error lists
_COMPARED: Final = 1_000  # columns among which an error looks for the nearest


class Sources:
    """Finds the columns; for one reading of one file from its start."""

    def __init__(self, used: Iterable[str], optional: Iterable[str] = ()) -> None:
        """`optional`: those that the file need not have."""
        self._used = sorted(used)
        self._optional = frozenset(optional)
        self._paths: dict[str, Path] = {}
        self._there: set[str] = set()  # columns of the recipe that the file has
        self._seen = False  # whether the start of the file was looked at

    def in_header(self, names: Sequence[str]) -> list[str]:
        """The columns of a table to read. Raises WrongFile naming one that is missing, or there twice."""
        for name in self._used:
            path = (name,) if name in names else path_of(name)
            if names.count(path[0]) > 1:
                raise WrongFile(f"the recipe reads the column {path[0]!r}, which is there twice; rename one of them")
            if path[0] in names:
                self._paths[name] = path
                self._there.add(name)
            elif name not in self._optional:
                raise WrongFile(
                    f"the recipe reads the column {name!r}, which is not in the file; {_there(name, names)}"
                )
        tops = {path[0] for path in self._paths.values()}
        return [name for name in names if name in tops]

    def of_table(self, columns: Mapping[str, pa.Array], count: int) -> dict[str, pa.Array]:
        """The columns by the names of the recipe, from those of a table with `count` lines."""
        found = {name: columns[name] for name in self._paths if name in columns}
        paths = {name: path for name, path in self._paths.items() if name not in found}
        if paths:
            records = _records({path[0]: columns[path[0]] for path in paths.values()})
            self._check(records, paths)
            found |= columns_of(records, paths)
        return self._whole(found, count)

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
        """The columns by the names of the recipe. Raises WrongFile naming one that the first lines do not have."""
        if records and not self._seen:
            names = {name for record in records[:SAMPLE] for name in record}
            self._paths = {name: (name,) if name in names else path_of(name) for name in self._used}
            self._check(records, self._paths)
            self._there = {name for name, path in self._paths.items() if occurs(records[:SAMPLE], path)}
        return self._whole(columns_of(records, self._paths), len(records))

    def has_any(self, names: Iterable[str]) -> bool:
        """Whether the file has one of these columns of the recipe, or they come from elsewhere."""
        return any(name in self._there or name not in self._used for name in names)

    def _check(self, records: Sequence[Mapping[str, Any]], paths: Mapping[str, Path]) -> None:
        if self._seen or not records:
            return
        self._seen = True
        start = records[:SAMPLE]
        for name, path in paths.items():
            if name not in self._optional and not occurs(start, path):
                there = list(dict.fromkeys(each for record in start[:_SHOWN] for each in paths_in(record)))
                raise WrongFile(
                    f"the recipe reads the column {name!r}, which is in none of the first {len(start):,} lines;"
                    f" {_there(name, there)}; one that comes later is marked with optional = true"
                )
        check_one_list(self._paths)

    def _whole(self, found: dict[str, pa.Array], count: int) -> dict[str, pa.Array]:
        """The columns with empty ones for those that the file does not have."""
        missing = [name for name in self._used if name not in found]
        kinds = {name: pa.list_(pa.string()) if EVERY in path_of(name) else pa.string() for name in missing}
        return found | {name: pa.nulls(count, kind) for name, kind in kinds.items()}


def _records(columns: Mapping[str, pa.Array]) -> list[dict[str, Any]]:
    try:
        records: list[dict[str, Any]] = pa.table(dict(columns)).to_pylist(maps_as_pydicts="lossy")
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise WrongFile(f"the column {' or '.join(map(repr, columns))} cannot be read: {error}") from None
    return records


def _there(name: str, names: Sequence[str]) -> str:
    """Advice: the column whose name is nearest, and all that are there."""
    folded = {each.lower(): each for each in reversed(names[:_COMPARED])}
    nearest = get_close_matches(name.lower(), folded, 1)
    advice = f"did you mean {shown(folded[nearest[0]])!r}? " if nearest else ""
    return f"{advice}there are: {listed(names)}"
