"""Makes a line of each value of a column that holds several."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import NESTED, SAMPLE, Reject, WrongFile
from cli.loading.nested_values import text_of
from cli.loading.recipes import Each
from cli.loading.typed_columns import texts_of

Lines = NDArray[np.int64]
_TEXT: Final = pa.string()
_SEPARATORS: Final = r"[\s,;|]+"  # between the values, unless the recipe names another
_PADDED: Final = r"\s*([,;|])\s*"
_NO_VALUE: Final = r'[{}<>="]|[A-Za-z_]+:[^,;|\s]*[,;|\s]+[A-Za-z_]+:'  # markup, or keys with values
_ADVICE: Final = 'say how, as in each = { column = "%s", separator = ";", pattern = "(?P<quantity>.+) x (?P<sku>.+)" }'


class Spread(NamedTuple):
    """The lines made, their columns, the lines that hold no values, and the rejects."""

    lines: Lines
    columns: dict[str, pa.Array]
    empty: int = 0
    rejects: Sequence[Reject] = ()


def spread_lists(lines: Lines, columns: Mapping[str, pa.Array], lists: frozenset[str]) -> Spread:
    """A line for each place of the columns named, which hold lists of the same length."""
    guide = next((columns[name] for name in sorted(lists) if columns[name].null_count == 0), None)
    if guide is None:  # the file has none of them
        return Spread(lines, {**columns, **{name: pa.nulls(len(lines), _TEXT) for name in lists}})
    parents = pc.list_parent_indices(guide)
    flat = {
        name: pc.list_flatten(columns[name]) if columns[name].null_count == 0 else pa.nulls(len(parents), _TEXT)
        for name in lists
    }
    spread = {name: column.take(parents) for name, column in columns.items() if name not in lists}
    return Spread(lines[parents.to_numpy()], {**spread, **flat})


def spread_texts(each: Each, lines: Lines, columns: Mapping[str, pa.Array]) -> Spread:
    """A line for each value in the column of `each`; the parts that its pattern names are columns of their own."""
    several, wrong = _several(each, columns[each.column])
    _refuse(each.column, columns[each.column], wrong & (lines <= SAMPLE))
    parents, values = _values(several)
    empty = len(lines) - len(np.unique(parents)) - int(wrong.sum())
    parts = _parts(each, values)
    odd = np.unique(parents[parts[each.column].is_null().to_numpy(zero_copy_only=False)])
    rejects = [
        _reject(lines[place], each.column, "holds more than values and their separators")
        for place in np.flatnonzero(wrong)
    ]
    rejects += [_reject(lines[place], each.column, "has a value that does not fit the pattern") for place in odd]
    good = ~np.isin(parents, odd)
    kept = pa.array(parents[good])
    spread = {name: column.take(kept) for name, column in columns.items() if name != each.column}
    parts = {name: column.filter(pa.array(good)) for name, column in parts.items()}
    return Spread(lines[parents[good]], {**spread, **parts}, empty, rejects)


def _reject(line: np.int64, column: str, reason: str) -> Reject:
    return Reject(int(line), column, f"{column} {reason}")


def _refuse(name: str, column: pa.Array, wrong: NDArray[np.bool_]) -> None:
    """Raise WrongFile if a line at the start of the file holds more than values and their separators."""
    if not wrong.any():
        return
    first = column[int(np.flatnonzero(wrong)[0])].as_py()
    if not isinstance(first, str) or first.startswith((NESTED, "{", "[")):
        raise WrongFile(
            f"the column {name!r} holds objects; read a key of each, as in '{name}[].sku', and leave each out"
        )
    raise WrongFile(f"the column {name!r} holds more than values with one kind of separator; {_ADVICE % name}")


def _several(each: Each, column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The values of each line as a list, and the lines that hold something else."""
    none = np.zeros(len(column), bool)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column, none if not pa.types.is_nested(column.type.value_type) else ~none
    texts = texts_of(column)
    listed = _filled(pc.match_substring_regex(texts, rf"^{NESTED}?\["))
    if each.separator:
        several = pc.split_pattern_regex(texts, each.separator)
        rich = none
    else:
        close = pc.replace_substring_regex(texts, _PADDED, r"\1")
        several = pc.split_pattern_regex(close, _SEPARATORS)
        rich = _is_rich(close) & ~listed
    if listed.any():
        lists = [_list_in(text) if is_list else None for text, is_list in zip(texts.to_pylist(), listed, strict=True)]
        several = pc.if_else(pa.array(listed), pa.array(lists, pa.list_(_TEXT)), several)
        rich |= listed & several.is_null().to_numpy(zero_copy_only=False)
    rich |= _filled(pc.starts_with(texts, NESTED)) & ~listed
    return pc.if_else(pa.array(rich), pa.scalar(None, several.type), several), rich


def _is_rich(texts: pa.Array) -> NDArray[np.bool_]:
    """The texts with more than one kind of separator, with markup, or with keys."""
    trimmed = pc.utf8_trim(texts, ",;|")
    kinds = sum(_filled(pc.match_substring_regex(trimmed, kind)).astype(int) for kind in (",", ";", r"\|", r"\s"))
    return (kinds > 1) | _filled(pc.match_substring_regex(texts, _NO_VALUE))


def _list_in(text: str) -> list[str | None] | None:
    """The plain values of a JSON list, None if it is none."""
    try:
        values = orjson.loads(text.removeprefix(NESTED))
    except orjson.JSONDecodeError:
        return None
    if any(isinstance(value, dict | list) for value in values):
        return None
    return [text_of(value) for value in values]


def _values(several: pa.Array) -> tuple[Lines, pa.Array]:
    """The values that are not blank, and the place of the line of each."""
    values = texts_of(pc.list_flatten(several))
    given = values.is_valid()
    return pc.list_parent_indices(several).filter(given).to_numpy().astype(np.int64), values.filter(given)


def _parts(each: Each, values: pa.Array) -> dict[str, pa.Array]:
    """The values, null where they do not fit the pattern, and what the groups of the pattern name."""
    if each.pattern is None:
        return {each.column: values}
    found = pc.extract_regex(values, f"^(?:{each.pattern})$")
    groups = {f"{each.column}.{name}": pc.struct_field(found, name) for name in each.groups}
    return {each.column: pc.if_else(found.is_valid(), values, pa.scalar(None, _TEXT)), **groups}


def _filled(mask: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), bool)
