"""Times in a format that a recipe names: counted since a day, or written as `strptime` reads them."""

import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import TIME
from cli.loading.odd_texts import TEXT, Meaning, Meanings, read_odd
from cli.loading.times import FIRST, LAST, OUTSIDE, PER_SECOND, microseconds_of

EPOCHS: Final = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
"""Formats of times that are counted since 1970."""
EXCEL: Final = {"excel": 25_569, "excel 1904": 24_107}
"""Formats of local times that are counted in days, as Excel does; and the day that is 1970-01-01."""

_NONE: Final = pa.scalar(None, TEXT)
_LOCAL: Final = pa.timestamp("us")
_USUAL: Final = (631_152_000, 4_102_444_800)  # seconds: 1990 to 2100
_EXCEL_DAYS: Final = (61, 2_950_000)  # before it Excel counts a 29th of February 1900; after it is the year 9976
_DAY: Final = 86_400_000  # milliseconds
_NUMBER: Final = re.compile(r"[+-]?\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DIRECTIVE: Final = re.compile(r"%-?([a-zA-Z%])")
_PARTS: Final = {
    "Y": r"\d{4}", "z": r"(?:Z|[+-]\d\d:?\d\d)", "p": r"[AaPp]\.?[Mm]\.?", "j": r"\d{1,3}", "%": "%",
    **dict.fromkeys("aAbBhZ", r"[\pL.]+"),
}  # fmt: skip


def times_in_format(texts: pa.Array, format: str, decimal: str | None) -> Meanings:
    """Texts as times in the format; without an offset they are local timestamps without a zone."""
    if format in EPOCHS:
        return _counted(texts, format, decimal)
    if decimal == "," and format in EXCEL:
        texts = pc.replace_substring(texts, ",", ".")
    read = _excel(texts, format) if format in EXCEL else _written(texts, format)
    wrong = pc.and_(texts.is_valid(), read.is_null())
    if not wrong.true_count:
        return Meanings(read, {})
    places = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    return Meanings(read, dict.fromkeys(places.tolist(), f"does not fit the format {format}"))


def _counted(texts: pa.Array, format: str, decimal: str | None) -> Meanings:
    """Times counted since 1970; fractions count down to microseconds."""
    plain = pc.match_substring_regex(texts, r"^-?[0-9]{1,18}$")
    others = read_odd(texts, plain, partial(_fractional, format=format, decimal=decimal))
    counts = pc.if_else(pc.fill_null(plain, False), texts, _NONE).cast(pa.int64())
    times = microseconds_of(counts, EPOCHS[format])
    faults = others.faults | _faults_of(counts, times, format)
    if others.column is not texts:
        times = pc.coalesce(times, pc.if_else(pc.fill_null(plain, True), _NONE, others.column).cast(pa.int64()))
    return Meanings(times.cast(TIME), faults)


def _faults_of(counts: pa.Array, times: pa.Array, format: str) -> dict[int, str]:
    """The counts that are no times in this format, by place."""
    numbers = counts.fill_null(_USUAL[0] * PER_SECOND[EPOCHS[format]]).to_numpy()
    low, high = (second * PER_SECOND[EPOCHS[format]] for second in _USUAL)
    unusual = {
        int(place): _other_format(int(numbers[place]), format)
        for place in np.flatnonzero((numbers < low) | (numbers >= high))
    }
    lost = np.flatnonzero(pc.and_(counts.is_valid(), times.is_null()).to_numpy(zero_copy_only=False))
    return dict.fromkeys(lost.tolist(), OUTSIDE) | {place: reason for place, reason in unusual.items() if reason}


def _other_format(count: int | Decimal, format: str) -> str | None:
    """The reason to set a count aside that is far from our time in this format, and near it in another one."""
    for other, unit in EPOCHS.items():
        if other != format and _USUAL[0] * PER_SECOND[unit] <= count < _USUAL[1] * PER_SECOND[unit]:
            return f"is no usual time in {format}, but one in {other}"
    return None


def _fractional(text: str, format: str, decimal: str | None) -> Meaning:
    """A count with a fraction or an exponent, in whole microseconds."""
    per_second = PER_SECOND[EPOCHS[format]]
    written = text.replace(",", ".") if decimal == "," else text
    if not _NUMBER.fullmatch(written):
        return Meaning(reason=f"does not fit the format {format}")
    count = Decimal(written)
    usual = _USUAL[0] * per_second <= count < _USUAL[1] * per_second
    other = None if usual else _other_format(count, format)
    if other or not FIRST * per_second <= count * 10**6 <= LAST * per_second:
        return Meaning(reason=other or OUTSIDE)
    return Meaning(str(int(count * 10**6 // per_second)))


def _excel(texts: pa.Array, format: str) -> pa.Array:
    """Days and their fractions as Excel counts them, rounded to milliseconds as Excel shows them."""
    numbers = pc.if_else(pc.match_substring_regex(texts, r"^[0-9]{1,7}(\.[0-9]+)?$"), texts, _NONE).cast(pa.float64())
    days = numbers.to_numpy(zero_copy_only=False)
    known = (days >= _EXCEL_DAYS[0]) & (days < _EXCEL_DAYS[1])
    moments = np.rint((np.where(known, days, 0) - EXCEL[format]) * _DAY).astype(np.int64)
    return pa.array(moments * 1000, mask=~known).cast(_LOCAL)


def _written(texts: pa.Array, format: str) -> pa.Array:
    if "%f" in format:
        return _with_fractions(texts, format)
    read = pc.strptime(texts, format=format, unit="us", error_is_null=True)
    early = pc.fill_null(pc.less_equal(pc.day(read), 3), False)
    missing = [text for text in pc.unique(texts.filter(early)).to_pylist() if not _exists(text, format)]
    if not missing:
        return read
    return pc.if_else(pc.is_in(texts, pa.array(missing, TEXT)), pa.scalar(None, read.type), read)


def _exists(text: str, format: str) -> bool:
    """Whether the day exists: the C library reads the 31st of February as the 3rd of March."""
    with suppress(ValueError):
        datetime.strptime(text, format)  # noqa: DTZ007  # only to see whether it can be read
        return True
    return False


def _with_fractions(texts: pa.Array, format: str) -> pa.Array:
    """The C library reads no fractions: they are cut out, with the mark before them, and added again.

    A text may have none: many programs leave out a fraction of zero.
    """
    before, _, after = format.partition("%f")
    mark = before[-1] if before.endswith((".", ",")) else ""
    before = before.removesuffix(mark)
    pattern = f"^(?P<before>{_regex(before)})(?P<part>{re.escape(mark)}\\d{{1,9}})?(?P<after>{_regex(after)})$"
    found = pc.extract_regex(texts, pattern)
    rest = pc.binary_join_element_wise(found.field("before"), found.field("after"), "")
    part = pc.utf8_slice_codeunits(pc.utf8_ltrim(pc.coalesce(found.field("part"), ""), ".,"), 0, 6)
    added = pc.utf8_rpad(part, 6, "0").cast(pa.int64()).cast(pa.duration("us"))
    return pc.add(_written(pc.if_else(found.is_valid(), rest, _NONE), before + after), added)


def _regex(format: str) -> str:
    """A pattern of RE2 for texts in this format."""
    pieces, end = [], 0
    for directive in _DIRECTIVE.finditer(format):
        pieces += [re.escape(format[end : directive.start()]), _PARTS.get(directive[1], r"\d{1,2}")]
        end = directive.end()
    return "".join([*pieces, re.escape(format[end:])])
