"""The column of the file that one of our columns is made of; nested values where a plain one belongs are refused."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import NESTED, SAMPLE, WrongFile
from cli.loading.columns import LISTS, OBJECTS, SPREAD
from cli.loading.nested_values import text_of
from cli.loading.recipes import Cell
from cli.loading.typed_columns import texts_of

_TEXT: Final = pa.string()
_KINDS: Final = {
    "{": "an object; name a key of it, as in '{column}.name'",
    "[": "a list; name one value of it, as in '{column}.0', or make a line of each with '{column}[]'",
}


def source_of(
    name: str, cell: Cell, lines: NDArray[np.int64], columns: Mapping[str, pa.Array]
) -> tuple[pa.Array | None, dict[int, str]]:
    """The column for `name` (None for a constant), and the reasons of the places that hold a nested value instead.

    Raises WrongFile if all values at the start of the file are nested.
    """
    if cell.value is not None:
        return None, {}
    parts = [_plain(name, column, columns[column], lines) for column in cell.read]
    wrong = {place: reason for _, faults in reversed(parts) for place, reason in faults.items()}
    if len(parts) == 1:
        return parts[0][0], wrong
    texts = [texts_of(part) for part, _ in parts]
    if cell.first:
        return pc.coalesce(*texts), wrong
    return pc.binary_join_element_wise(*texts, " "), wrong


def _plain(name: str, column: str, source: pa.Array, lines: NDArray[np.int64]) -> tuple[pa.Array, dict[int, str]]:
    """The column with nested values only where `name` may have them, and the reasons of the places that had others."""
    if pa.types.is_nested(source.type):
        if not _takes(name, source.type):
            kind = _kind("{" if pa.types.is_struct(source.type) else "[", column)
            raise WrongFile(f"{name} reads the column {column!r}, which holds {kind}")
        return pc.binary_join(source.cast(pa.list_(_TEXT)), "|") if _is_key(name) else source, {}
    if not pa.types.is_string(source.type):
        return source, {}
    nested = np.asarray(pc.fill_null(pc.starts_with(source, NESTED), False).to_numpy(zero_copy_only=False), bool)
    if not nested.any():
        return source, {}
    json = {int(place): source[int(place)].as_py().removeprefix(NESTED) for place in np.flatnonzero(nested)}
    values = {place: _inner(name, text) for place, text in json.items()}
    wrong = {place: f"holds {_kind(json[place], column)}" for place, text in values.items() if text is None}
    given = np.asarray(source.is_valid().to_numpy(zero_copy_only=False), bool)
    start = np.flatnonzero(given & (lines <= SAMPLE))
    if len(start) and all(int(place) in wrong for place in start):
        raise WrongFile(f"{name} reads the column {column!r}, which {wrong[int(start[0])]}")
    texts = pa.array(list(values.values()), _TEXT)
    return pc.replace_with_mask(source, pa.array(nested), texts), wrong


def _kind(json: str, column: str) -> str:
    """What a nested value is, and what to do about it."""
    return _KINDS.get(json[:1], "a number that is too large to be exact").format(column=column)


def _inner(name: str, json: str) -> str | None:
    """The text of a nested value where `name` may have it."""
    if name in OBJECTS or (name in LISTS and json.startswith("[")):
        return json
    if json.startswith("[") and _is_key(name):
        parts = [text_of(value) for value in orjson.loads(json)]
        if not any(part and part.startswith(NESTED) for part in parts):
            return "|".join(part or "" for part in parts)
    return None


def _is_key(name: str) -> bool:
    """Whether the column is one key of attributes or traits, such as `attributes.size`."""
    return name.startswith(tuple(SPREAD.values()))


def _takes(name: str, type: pa.DataType) -> bool:
    if name in OBJECTS:
        return True
    plain = (pa.types.is_list(type) or pa.types.is_large_list(type)) and not pa.types.is_nested(type.value_type)
    return plain and (name in LISTS or _is_key(name))
