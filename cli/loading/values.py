"""What the cells of a file mean, column by column: ids, numbers, money, times and lists, in every format alike."""

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import Chunk, Lines, Reject, WrongFile
from cli.loading.columns import AMOUNTS, IDS, LISTS, NUMBERS, OBJECTS, TIMES
from cli.loading.ids import float_ids, is_missing, read_ids
from cli.loading.lists import read_lists
from cli.loading.money import SIGNS, plain_decimals, read_amounts, read_quantities
from cli.loading.odd_texts import TEXT, Faults, Meaning, Meanings, read_odd
from cli.loading.times import times_of
from cli.loading.typed_columns import recorder, texts_of
from core.currencies import CURRENCIES


class Rules(NamedTuple):
    """How the values of a file are read. `missing`: the words of a recipe for no value, instead of the usual ones."""

    zone: ZoneInfo | None = None
    decimal: str | None = None
    missing: frozenset[str] | None = None
    absolute: frozenset[str] = frozenset()  # columns whose minus signs are dropped


class Values(NamedTuple):
    """Columns of one form, the places that cannot be read, and how many amounts were rounded."""

    columns: dict[str, pa.Array]
    faults: Faults
    rounded: int = 0


def chunk_of(lines: Lines, columns: Mapping[str, pa.Array], rules: Rules, rejects: list[Reject], read: int) -> Chunk:
    """A chunk of columns as they are in the file; lines with a value that cannot be read become rejects.

    Raises WrongFile naming a column whose type does not fit its name.
    """
    values = read_values(columns, rules)
    good, kept = without_faults(lines, values)
    return Chunk(good, kept, recorder(kept), rejects + rejects_of(lines, values), read, rounded=values.rounded)


def read_values(columns: Mapping[str, pa.Array], rules: Rules) -> Values:
    """The meaning of every value of these columns. Raises WrongFile as `chunk_of`."""
    made: dict[str, pa.Array] = {}
    faults: Faults = {}
    currencies: dict[str, pa.Array] = {}
    rounded = 0
    for name, column in columns.items():
        found = _read(name, column, rules)
        made[name] = _absolute(found.column) if name in rules.absolute else found.column
        rounded += found.rounded
        faults = {place: (name, reason) for place, reason in found.faults.items()} | faults
        if found.currencies is not None:
            currencies[name] = found.currencies
    for name, named in currencies.items():
        agreed = _agreed(named, made.get("currency"))
        made["currency"] = agreed.column
        faults = {place: (name, reason) for place, reason in agreed.faults.items()} | faults
    return Values(made, faults, rounded)


def _absolute(column: pa.Array) -> pa.Array:
    return pc.utf8_ltrim(column, "-") if pa.types.is_string(column.type) else column


def without_faults(lines: Lines, values: Values) -> tuple[Lines, dict[str, pa.Array]]:
    """The lines and columns without the places that cannot be read."""
    if not values.faults:
        return lines, values.columns
    good = np.ones(len(lines), bool)
    good[list(values.faults)] = False
    mask = pa.array(good)
    return lines[good], {name: column.filter(mask) for name, column in values.columns.items()}


def rejects_of(lines: Lines, values: Values) -> list[Reject]:
    """A reject for each place that cannot be read."""
    ids = values.columns.get("id")
    return [
        Reject(int(lines[place]), name, f"{name} {reason}", None if ids is None else ids[place].as_py())
        for place, (name, reason) in sorted(values.faults.items())
    ]


def _read(name: str, column: pa.Array, rules: Rules) -> Meanings:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name in OBJECTS:
        return Meanings(column, {})
    try:
        if name in TIMES:
            texts = column if pa.types.is_temporal(column.type) else _times(column, rules)
            return times_of(name, texts, rules.zone)
        if name in LISTS:
            nested = pa.types.is_nested(column.type)
            return Meanings(column, {}) if nested else read_lists(name, texts_of(column), None, None)
        if name in IDS:
            return float_ids(column) if pa.types.is_floating(column.type) else read_ids(texts_of(column), rules.missing)
        if name in NUMBERS:
            return _numbers(name, column, rules)
        return Meanings(texts_of(column), {}) if name != "currency" else _currencies(texts_of(column), rules)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WrongFile(f"the column {name!r} is of the type {column.type}: {error}") from None


def _times(column: pa.Array, rules: Rules) -> pa.Array:
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return column
    return without_missing(texts_of(column), rules.missing)


def without_missing(texts: pa.Array, words: frozenset[str] | None) -> pa.Array:
    """The texts with null for the words that stand for no value."""
    return read_odd(texts, pc.match_substring_regex(texts, r"[0-9]"), partial(_or_missing, words=words)).column


def _or_missing(text: str, words: frozenset[str] | None) -> Meaning:
    return Meaning() if is_missing(text, words) else Meaning(text)


def _numbers(name: str, column: pa.Array, rules: Rules) -> Meanings:
    """Numbers of a typed column have a point; it is never their text that is rounded, but what it says."""
    read = read_amounts if name in AMOUNTS else read_quantities
    if pa.types.is_floating(column.type):
        return read(pc.if_else(pc.is_nan(column), None, column).cast(TEXT), ".")
    if pa.types.is_decimal(column.type):
        return read(plain_decimals(column.cast(TEXT)), ".")
    if pa.types.is_integer(column.type):
        return Meanings(column.cast(TEXT), {})
    return read(without_missing(texts_of(column), rules.missing), rules.decimal)


def _currencies(texts: pa.Array, rules: Rules) -> Meanings:
    """Codes of currencies; a sign that means one currency only is its code."""
    plain = pc.match_substring_regex(texts, "^[A-Z]{3}$")
    return read_odd(texts, plain, partial(_code, words=rules.missing))


def _code(text: str, words: frozenset[str] | None) -> Meaning:
    sign = text.upper().rstrip(".")
    meant = SIGNS.get(sign, frozenset()) if sign in CURRENCIES or not sign.isalpha() else frozenset()
    return _or_missing(next(iter(meant)) if len(meant) == 1 else text, words)


_BETWEEN: Final = "\x1f"  # a sign and a code


def _agreed(named: pa.Array, given: pa.Array | None) -> Meanings:
    """The currency of each line: the given one, else the one beside its amount; a fault where they differ."""
    given = pa.nulls(len(named), TEXT) if given is None else given
    pairs = pc.binary_join_element_wise(named, pc.fill_null(given, ""), _BETWEEN)
    found = read_odd(pairs, pa.repeat(pa.scalar(value=False), len(pairs)), _agreement)
    return found._replace(column=pc.coalesce(given, found.column))


def _agreement(pair: str) -> Meaning:
    sign, _, code = pair.partition(_BETWEEN)
    meant = SIGNS.get(sign, frozenset())
    if code and code not in meant:
        other = code if code in CURRENCIES else "another"
        return Meaning(reason=f"is in {sign}, but the currency is {other}")
    return Meaning(code or (next(iter(meant)) if len(meant) == 1 else None))
