"""Times of a file as UTC: from timestamps, and from texts of RFC 3339 and its kin.

One rule for local times, whatever they are read from: an hour that the clock skips counts on from before the change
(02:30 of a skipped hour is 03:30), and of an hour that the clock repeats it is the first.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import ODD, TIME, WrongFile
from cli.loading.odd_texts import TEXT, Meaning, Meanings, read_odd

OUTSIDE: Final = "lies before the year 1 or after the year 9999"
_NO_TIME: Final = "must be a time of RFC 3339 with offset, as in 2025-03-01T12:00:00Z"

_COUNTED: Final = 'is a number: a recipe says what it counts, as in format = "seconds"'
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:[eE]\+?\d+)?", re.ASCII)
_DAY: Final = 86_400_000_000  # microseconds
FIRST, LAST = -719_162 * _DAY, 2_932_897 * _DAY - 1  # what a datetime of UTC holds, in microseconds since 1970
PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DATE: Final = (
    r"[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_STRICT: Final = rf"^{_DATE}[T ]{_CLOCK}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
_LOCAL: Final = rf"^{_DATE}[ T]{_CLOCK}$"
_WIDE: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[T ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?"
    r" ?(?:(?P<utc>Z|UTC|GMT)|(?P<offset>[+-]\d\d(?::?\d\d)?))?(?: (?:UTC|GMT))?)?",
    re.ASCII | re.IGNORECASE,
)


def times_of(name: str, column: pa.Array, zone: ZoneInfo | None) -> Meanings:
    """The column as times of UTC; those without an offset are in `zone`.

    Raises WrongFile for a column of another type, and for local timestamps without a zone.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s") if pa.types.is_date32(column.type) else pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        return _held(column, _utc(name, column, zone))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type):
        return _read(column.cast(TEXT), zone)
    raise WrongFile(f"the column {name!r} is of the type {column.type}, not a timestamp or text")


def _utc(name: str, column: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    held = _inmicroseconds_of(column)
    if column.type.tz is not None:
        return held.cast(TIME)
    if zone is None:
        raise WrongFile(f"the column {name!r} has no time zone; name it, for example --timezone UTC")
    return localized(held, zone)


def localized(column: pa.Array, zone: ZoneInfo) -> pa.Array:
    """Local times as UTC: as Python's `fold=0` reads them, in one pass over the column."""
    known = pc.assume_timezone(column, zone.key, ambiguous="earliest", nonexistent="earliest")
    moments = known.cast(pa.int64())
    offsets = pc.subtract(pc.local_timestamp(known).cast(pa.int64()), moments)  # of a skipped hour: from before it
    return pc.subtract(column.cast(pa.int64()), offsets).cast(TIME)


def _inmicroseconds_of(column: pa.Array) -> pa.Array:
    """Timestamps of any unit as local microseconds; null where a datetime cannot hold them."""
    unit = column.type.unit
    return microseconds_of(column.cast(pa.timestamp(unit)).cast(pa.int64()), unit).cast(pa.timestamp("us"))


def microseconds_of(counts: pa.Array, unit: str) -> pa.Array:
    """Whole numbers of a unit as microseconds; null where a datetime cannot hold them."""
    per_second = PER_SECOND[unit]
    numbers = counts.fill_null(0).to_numpy()
    fits = (numbers >= FIRST * per_second // 10**6) & (numbers <= LAST * per_second // 10**6)
    numbers = np.where(fits, numbers, 0)
    exact = numbers // 1000 if unit == "ns" else numbers * (10**6 // per_second)
    return pa.array(exact, mask=~fits | counts.is_null().to_numpy(zero_copy_only=False))


def _held(source: pa.Array, times: pa.Array) -> Meanings:
    """The times, with a fault for each that a datetime cannot hold."""
    counts = times.cast(pa.int64())
    held = pc.and_(pc.greater_equal(counts, FIRST), pc.less_equal(counts, LAST))
    lost = pc.and_(source.is_valid(), pc.invert(pc.fill_null(held, False)))
    if not lost.true_count:
        return Meanings(times, {})
    return Meanings(pc.if_else(lost, pa.scalar(None, TIME), times), dict.fromkeys(_places(lost), OUTSIDE))


def _read(texts: pa.Array, zone: ZoneInfo | None) -> Meanings:
    """Texts of RFC 3339 and the like, most of them without looking at each."""
    strict = pc.fill_null(pc.match_substring_regex(texts, _STRICT), False)
    times = pc.if_else(strict, texts, pa.scalar(None, TEXT)).cast(TIME)
    plain = strict
    if zone is not None and strict.true_count < len(texts):
        local = pc.fill_null(pc.match_substring_regex(texts, _LOCAL), False)
        naive = pc.if_else(local, texts, pa.scalar(None, TEXT)).cast(pa.timestamp("us"))
        times = pc.coalesce(times, localized(naive, zone))
        plain = pc.or_(strict, local)
    others = read_odd(texts, plain, lambda text: _moment(text, zone))
    no_texts = _places(pc.equal(texts, ODD))
    if others.column is not texts or no_texts:
        unread = pc.or_(plain, pc.fill_null(pc.equal(texts, ODD), False))
        times = pc.if_else(plain, times, pc.if_else(unread, pa.scalar(None, TEXT), others.column).cast(TIME))
    found = _held(times, times)
    return Meanings(found.column, {**found.faults, **others.faults, **dict.fromkeys(no_texts, _NO_TIME)})


def _places(mask: pa.Array) -> list[int]:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False)).tolist() if mask.true_count else []


def _moment(text: str, zone: ZoneInfo | None) -> Meaning:
    """One time in a less usual form of ISO 8601, as a text that can be cast."""
    found = _WIDE.fullmatch(text)
    if found is None:
        return Meaning(reason=_COUNTED if _NUMBER.fullmatch(text) else _NO_TIME)
    date, part = found["date"].replace("-", ""), (found["part"] or "")[:6].ljust(6, "0")
    offset = "+00:00" if found["utc"] else (found["offset"] or "")
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(
            f"{date}T{found['hour'] or '00'}{found['minute'] or '00'}{found['second'] or '00'}.{part}{offset}"
        )
        if moment.tzinfo is None and zone is None:
            return Meaning(reason="needs its offset from UTC, as in 2025-03-01T12:00:00Z, or a time zone for the file")
        whole = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return Meaning(f"{whole.astimezone(UTC).replace(tzinfo=None).isoformat()}Z")
    return Meaning(reason="is no time of the calendar")
