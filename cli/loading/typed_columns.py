"""Columns as texts, and the record of one line from columns."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.columns import LISTS, OBJECTS
from cli.loading.money import plain_decimals

_EXACT = 2.0**53  # up to it a float holds every whole number
_FORMULA = re.compile(rb'="')


def blank_is_null(texts: pa.Array) -> pa.Array:
    """The texts with null for the empty ones: CSV cannot tell them apart."""
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def texts_of(column: pa.Array) -> pa.Array:
    """The column as trimmed texts, as a person would write them; what is blank is null."""
    if pa.types.is_dictionary(column.type):
        words = texts_of(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, words).dictionary_decode()
    if pa.types.is_floating(column.type):
        return _floats(column)
    texts = column.cast(pa.string())
    if pa.types.is_decimal(column.type):
        return plain_decimals(texts)
    return blank_is_null(pc.utf8_trim_whitespace(_shown(texts)))


def _shown(texts: pa.Array) -> pa.Array:
    """What Excel shows of a text that is written as a formula to keep its zeros: `="00123"` is 00123."""
    letters = texts.buffers()[2]
    if letters is None or not _FORMULA.search(letters):
        return texts
    return pc.replace_substring_regex(texts, r'^\s*="([^"]*)"\s*$', r"\1")


def _floats(column: pa.Array) -> pa.Array:
    """Whole numbers without a point: pandas writes 17850 as 17850.0 in columns with missing values."""
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return pc.coalesce(_whole_number_texts(column.cast(pa.float64())), column.cast(pa.string()))


def _whole_number_texts(column: pa.Array) -> pa.Array:
    """The whole numbers of a column of floats as texts; null where there is a fraction or nothing."""
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(column), column), pc.less_equal(pc.abs(column), _EXACT)), False)
    return pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())


def recorder(columns: Mapping[str, pa.Array], cleared: frozenset[str] = frozenset()) -> Callable[[int], dict[str, Any]]:
    """Returns a function that gives one line of the columns as its sender could have written it.

    An empty cell is not named, or null in the columns of `cleared`.
    """

    def record(place: int) -> dict[str, Any]:
        values = ((name, column[place].as_py()) for name, column in columns.items())
        return _nested({name: _value(name, value) for name, value in values if value is not None or name in cleared})

    return record


def _nested(record: dict[str, Any]) -> dict[str, Any]:
    """Columns like `traits.city` become keys of `traits`."""
    for name in [name for name in record if "." in name]:
        whole, _, key = name.partition(".")
        if record.get(whole) is None:
            record[whole] = {}
        inside = record[whole]
        if isinstance(inside, dict):
            inside[key] = record.pop(name)
    return record


def _value(name: str, value: Any) -> Any:
    if name in OBJECTS:
        return _json(dict(value)) if isinstance(value, list) and name != "offers" else _json(value)
    return _json(value) if name in LISTS else value


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
