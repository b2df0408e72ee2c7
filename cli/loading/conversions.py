"""Converts a column of a foreign file into one of ours, as a recipe says: whole columns at a time."""

from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import TIME
from cli.loading.columns import AMOUNTS, NUMBERS, TIMES
from cli.loading.recipes import EPOCHS, Cell
from cli.loading.typed_columns import plain_decimals, rounded_amounts, whole_number_texts

_TEXT: Final = pa.string()
_GROUPS: Final = {",": r"[.\s'\x{2019}\x{a0}\x{202f}]", ".": r"[,\s'\x{2019}\x{a0}\x{202f}]"}


_DIGITS: Final = {"s": 11, "ms": 14, "us": 17}  # of the longest count that is read


class Converted(NamedTuple):
    """A column of ours, the lines that could not be converted (None for no line), and the reason."""

    column: pa.Array
    wrong: NDArray[np.bool_] | None = None
    reason: str = ""


def convert(name: str, cell: Cell, source: pa.Array | None, decimal: str | None, count: int) -> Converted:
    """Our column `name`; `source` is the column that the cell names, None for a constant."""
    if source is None:
        return Converted(pa.repeat(pa.scalar(cell.value, _TEXT), count))
    if name in TIMES:
        return _time(cell, source)
    if name in AMOUNTS and pa.types.is_floating(source.type):
        source = rounded_amounts(source)
    elif pa.types.is_nested(source.type):
        return Converted(source)
    texts = _mapped(texts_of(source), cell)
    if name in NUMBERS:
        texts = _number(texts, decimal)
    return Converted(pc.utf8_ltrim(texts, "-") if cell.absolute else texts)


def texts_of(column: pa.Array) -> pa.Array:
    """The column as trimmed texts, as a person would write them; what is blank is null."""
    if pa.types.is_dictionary(column.type):
        words = texts_of(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, words).dictionary_decode()
    if pa.types.is_floating(column.type):
        return _floats(column.cast(pa.float64()))
    texts = column.cast(_TEXT)
    if pa.types.is_decimal(column.type):
        return plain_decimals(texts)
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, _TEXT), trimmed)


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Which texts match the whole pattern; null matches as the empty text."""
    return pc.match_substring_regex(pc.fill_null(texts, ""), f"^(?:{pattern})$")


def _floats(column: pa.Array) -> pa.Array:
    """Whole numbers without a point: pandas writes 17850 as 17850.0 in columns with missing values."""
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return pc.coalesce(whole_number_texts(column), column.cast(_TEXT))


def _mapped(texts: pa.Array, cell: Cell) -> pa.Array:
    if not cell.map:
        return texts
    found = texts if cell.otherwise is None else pa.repeat(pa.scalar(cell.otherwise, _TEXT), len(texts))
    for pattern, word in reversed(cell.map.items()):
        found = pc.if_else(matches(texts, pattern), pa.scalar(word, _TEXT), found)
    return found


def _number(texts: pa.Array, decimal: str | None) -> pa.Array:
    if decimal is None:
        return texts
    ungrouped = pc.replace_substring_regex(texts, _GROUPS[decimal], "")
    return plain_decimals(pc.replace_substring(ungrouped, ",", "."))


def _time(cell: Cell, source: pa.Array) -> Converted:
    if pa.types.is_temporal(source.type) or cell.format is None:
        return Converted(source if pa.types.is_temporal(source.type) else _mapped(texts_of(source), cell))
    texts = _mapped(texts_of(source), cell)
    read = _counted(texts, EPOCHS[cell.format]) if cell.format in EPOCHS else _written(texts, cell.format)
    wrong = pc.and_(texts.is_valid(), read.is_null()).to_numpy(zero_copy_only=False)
    return Converted(read, wrong if wrong.any() else None, f"does not fit the format {cell.format}")


def _counted(texts: pa.Array, unit: str) -> pa.Array:
    """Times from whole numbers since 1970; fractions are dropped."""
    fits = pc.fill_null(pc.match_substring_regex(texts, rf"^-?[0-9]{{1,{_DIGITS[unit]}}}(\.[0-9]+)?$"), False)
    whole = pc.replace_substring_regex(pc.if_else(fits, texts, pa.scalar(None, _TEXT)), r"\.[0-9]+$", "")
    return whole.cast(pa.int64()).cast(pa.timestamp(unit, "UTC")).cast(TIME)


def _written(texts: pa.Array, format: str) -> pa.Array:
    read = pc.strptime(texts, format=format, unit="us", error_is_null=True)
    early = pc.fill_null(pc.less_equal(pc.day(read), 3), False)
    missing = [text for text in pc.unique(texts.filter(early)).to_pylist() if not _exists(text, format)]
    if not missing:
        return read
    return pc.if_else(pc.is_in(texts, pa.array(missing, _TEXT)), pa.scalar(None, read.type), read)


def _exists(text: str, format: str) -> bool:
    """Whether the day exists: the C library reads the 31st of February as the 3rd of March."""
    with suppress(ValueError):
        datetime.strptime(text, format)  # noqa: DTZ007  # only to see whether it can be read
        return True
    return False
