"""Converts a column of a foreign file into one of ours, as a recipe says: whole columns at a time."""

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.columns import IDS, LISTS, NUMBERS, TIMES
from cli.loading.lists import read_lists
from cli.loading.odd_texts import Meanings
from cli.loading.recipes import Cell
from cli.loading.time_formats import times_in_format
from cli.loading.typed_columns import texts_of
from cli.loading.values import Rules, without_missing

_TEXT: Final = pa.string()


def convert(name: str, cell: Cell, source: pa.Array | None, rules: Rules, count: int) -> Meanings:
    """Our column `name`; `source` is the column that the cell names, None for a constant."""
    if source is None:
        return Meanings(pa.repeat(pa.scalar(cell.value, _TEXT), count), {})
    if name in TIMES and pa.types.is_temporal(source.type):
        return Meanings(source, {})
    if pa.types.is_nested(source.type) or _is_number(name, cell, source):
        return Meanings(source, {})
    texts = _mapped(_unprefixed(_given(texts_of(source), rules), cell), cell)
    if name in TIMES and cell.format is not None:
        return times_in_format(without_missing(texts, rules.missing), cell.format, rules.decimal)
    return read_lists(name, texts, cell.separator, cell.levels) if name in LISTS else Meanings(texts, {})


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Which texts match the whole pattern; null matches as the empty text."""
    return pc.match_substring_regex(pc.fill_null(texts, ""), f"^(?:{pattern})$")


def _is_number(name: str, cell: Cell, source: pa.Array) -> bool:
    """Whether the column holds numbers and stays as it is: they have a point, whatever the recipe says."""
    primitive = pa.types.is_primitive(source.type) and not pa.types.is_boolean(source.type)
    return (primitive or pa.types.is_decimal(source.type)) and not cell.map and (name in IDS or name in NUMBERS)


def _given(texts: pa.Array, rules: Rules) -> pa.Array:
    """The texts with null for the recipe's own words for no value."""
    if not rules.missing:
        return texts
    absent = pc.is_in(texts, pa.array(sorted(rules.missing), _TEXT))
    return pc.if_else(absent, pa.scalar(None, _TEXT), texts)


def _unprefixed(texts: pa.Array, cell: Cell) -> pa.Array:
    if not cell.prefix:
        return texts
    return pc.replace_substring_regex(texts, f"^{re.escape(cell.prefix)}", "")


def _mapped(texts: pa.Array, cell: Cell) -> pa.Array:
    if not cell.map:
        return texts
    found = texts if cell.otherwise is None else pa.repeat(pa.scalar(cell.otherwise, _TEXT), len(texts))
    for pattern, word in reversed(cell.map.items()):
        found = pc.if_else(matches(texts, pattern), pa.scalar(word, _TEXT), found)
    return found
