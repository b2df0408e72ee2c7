"""Columns of CSV and Parquet in one form: texts, timestamps, and nested values as they are."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import ODD, TIME, Chunk, Reject, WrongFile
from cli.loading.columns import AMOUNTS, LISTS, OBJECTS, TIMES, list_of
from core.amounts import DECIMAL_PLACES

_EXACT = 2.0**53  # below it a float holds every whole number


def chunk_of(
    lines: NDArray[np.int64],
    columns: Mapping[str, pa.Array],
    zone: ZoneInfo | None,
    rejects: list[Reject],
    read: int,
) -> Chunk:
    """A chunk of typed columns; times that name no offset are in `zone`.

    Raises WrongFile naming a column whose type does not fit its name.
    """
    normalized = {name: _normalized(name, column, zone) for name, column in columns.items()}
    return Chunk(lines, normalized, recorder(normalized, zone), rejects, read)


def blank_is_null(texts: pa.Array) -> pa.Array:
    """The texts with null for the empty ones: CSV cannot tell them apart."""
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _normalized(name: str, column: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name in LISTS | OBJECTS:
        return column
    if name in TIMES:
        return timestamps(name, column, zone)
    try:
        return _texts(name, column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WrongFile(f"the column {name!r} is of the type {column.type}: {error}") from None


def timestamps(name: str, column: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    """The column as timestamps, or as texts where it holds texts. Raises WrongFile for a column of another type."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type):
            return column.cast(pa.string())
        raise WrongFile(f"the column {name!r} is of the type {column.type}, not a timestamp or text")
    if column.type.tz is None:
        if zone is None:
            raise WrongFile(f"the column {name!r} has no time zone; name it, for example --timezone UTC")
        column = pc.assume_timezone(column, zone.key, ambiguous="earliest", nonexistent="earliest")
    return column.cast(TIME, safe=False)


def _texts(name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return _float_texts(name, column)
    if pa.types.is_decimal(column.type):
        return plain_decimals(column.cast(pa.string()))
    return column.cast(pa.string())


def _float_texts(name: str, column: pa.Array) -> pa.Array:
    """Amounts to four decimals; ids, which pandas often turns into floats, as whole numbers."""
    if name in AMOUNTS:
        return rounded_amounts(column).cast(pa.string())
    texts = whole_number_texts(column.cast(pa.float64()))
    return pc.if_else(pc.and_(column.is_valid(), texts.is_null()), ODD, texts)


def rounded_amounts(column: pa.Array) -> pa.Array:
    """Amounts in floats, without the digits that only rounding errors have."""
    return pc.round(column.cast(pa.float64()), DECIMAL_PLACES)


def whole_number_texts(column: pa.Array) -> pa.Array:
    """The whole numbers of a column of floats as texts; null where there is a fraction or nothing."""
    whole = pc.fill_null(pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _EXACT)), False)
    return pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())


def plain_decimals(amounts: pa.Array) -> pa.Array:
    """Decimal texts without needless zeros behind the point."""
    trimmed = pc.utf8_rtrim(pc.utf8_rtrim(amounts, "0"), ".")
    return pc.if_else(pc.match_substring(amounts, "."), trimmed, amounts)


def recorder(columns: Mapping[str, pa.Array], zone: ZoneInfo | None) -> Callable[[int], dict[str, Any]]:
    """Returns a function that gives one line of the columns as its sender could have written it."""

    def record(place: int) -> dict[str, Any]:
        values = ((name, column[place].as_py()) for name, column in columns.items())
        return _nested({name: _value(name, value, zone) for name, value in values if value is not None})

    return record


def _nested(record: dict[str, Any]) -> dict[str, Any]:
    """Columns like `traits.city` become keys of `traits`."""
    for name in [name for name in record if "." in name]:
        whole, _, key = name.partition(".")
        inside = record.setdefault(whole, {})
        if isinstance(inside, dict):
            inside[key] = record.pop(name)
    return record


def _value(name: str, value: Any, zone: ZoneInfo | None) -> Any:
    if name in TIMES and isinstance(value, str):
        return _moment(value, zone)
    if name in OBJECTS:
        return _json(dict(value)) if isinstance(value, list) and name != "offers" else _json(value)
    if name in LISTS and isinstance(value, str):
        return _json(value) if value.startswith("[") else list_of(name, value)
    return value


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _moment(text: str, zone: ZoneInfo | None) -> Any:
    """The text with a T in place of its blank; a datetime when the zone had to be added."""
    text = text.strip().replace(" ", "T", 1)
    if zone is None:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
