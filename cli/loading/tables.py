"""Columns of CSV and Parquet brought to one shape: texts, timestamps, and what is nested."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import ODD, Chunk, Reject, WrongFile
from cli.loading.fields import LISTS, MONEY, OBJECTS, TIMES


def chunk_of(
    lines: NDArray[np.int64],
    columns: Mapping[str, pa.Array],
    zone: ZoneInfo | None,
    rejects: list[Reject],
    read: int,
) -> Chunk:
    """A chunk of typed columns; times that name no offset are in `zone`.

    Raises WrongFile naming a column whose type cannot hold what its name says.
    """
    shaped = {name: _shaped(name, column, zone) for name, column in columns.items()}
    return Chunk(lines, shaped, recorder(shaped, zone), rejects, read)


def blank_is_null(texts: pa.Array) -> pa.Array:
    """CSV cannot tell an empty text from none: none it is."""
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _shaped(name: str, column: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name in LISTS | OBJECTS:
        return column
    if name in TIMES:
        return moments(name, column, zone)
    try:
        return _texts(name, column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WrongFile(f"the column {name!r} is of the type {column.type}: {error}") from None


def moments(name: str, column: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    """The column of times as moments, or as it is where they are texts. Raises WrongFile when it holds no times."""
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
    return column.cast(pa.timestamp("us", "UTC"), safe=False)


def _texts(name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return _float_texts(name, column)
    if pa.types.is_decimal(column.type):
        return plain(column.cast(pa.string()))
    return column.cast(pa.string())


def _float_texts(name: str, column: pa.Array) -> pa.Array:
    """Numbers as people write them: amounts to four decimals, ids (which pandas likes to make floats) without any."""
    column = column.cast(pa.float64())
    if name in MONEY:
        return pc.round(column, 4).cast(pa.string())
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
    texts = pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())
    return pc.if_else(pc.and_(column.is_valid(), pc.invert(pc.fill_null(whole, False))), ODD, texts)


def plain(amounts: pa.Array) -> pa.Array:
    """Decimal texts without needless zeros behind the point."""
    trimmed = pc.utf8_rtrim(pc.utf8_rtrim(amounts, "0"), ".")
    return pc.if_else(pc.match_substring(amounts, "."), trimmed, amounts)


def recorder(columns: Mapping[str, pa.Array], zone: ZoneInfo | None) -> Callable[[int], dict[str, Any]]:
    """Gives one line of the columns as its sender could have written it."""

    def record(place: int) -> dict[str, Any]:
        values = ((name, column[place].as_py()) for name, column in columns.items())
        return _gathered({name: _value(name, value, zone) for name, value in values if value is not None})

    return record


def _gathered(record: dict[str, Any]) -> dict[str, Any]:
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
        return (
            _json(value) if value.startswith("[") else [part.strip() for part in value.split(_separator(name, value))]
        )
    return value


def _separator(name: str, value: str) -> str:
    return ">" if name == "categories" and ">" in value else "|"


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _moment(text: str, zone: ZoneInfo | None) -> Any:
    """The text with a T for its blank; a time when the zone had to be added."""
    text = text.strip().replace(" ", "T", 1)
    if zone is None:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
