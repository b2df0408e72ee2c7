"""Checks whole columns for lines that are surely valid events: the fast part of `core.contract.read_event`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import TIME
from core.amounts import DECIMAL_PLACES, LARGEST_LINE, WHOLE_DIGITS
from core.contract import AHEAD, EARLIEST, LONGEST_ID, LONGEST_TEXT, VERSIONS, Event, EventType
from core.currencies import CURRENCIES
from core.events import LARGEST_QUANTITY

_IDS: Final = ("id", "source", "user_id", "anonymous_id", "item_id", "order_id", "session_id")
NEVER_PASSED: Final = ("item_ids", "properties")
"""A line with one of these is left to the contract; they may be lists and objects."""
_CONTROL: Final = r"[\x00-\x1f\x{7f}-\x{9f}]"
# Stricter than the contract, which has the last word on every other line.
AMOUNT: Final = rf"^(0|[1-9][0-9]{{0,{WHOLE_DIGITS - 1}}})(\.[0-9]{{1,{DECIMAL_PLACES}}})?$"
_LINE_DIGITS: Final = len(str(LARGEST_LINE)) - 1
_QUANTITY: Final = rf"^[1-9][0-9]{{0,{len(str(LARGEST_QUANTITY)) - 2}}}$"
# RFC 3339; the contract decides about the 29th of February.
_MOMENT: Final = (
    r"^[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_REQUIRED_BY: Final = {
    name: types
    for name, field in Event.model_fields.items()
    if not field.is_required()
    and (types := [type for type, model in VERSIONS["v1"].items() if model.model_fields[name].is_required()])
}

Mask = NDArray[np.bool_]


def surely_valid(columns: Mapping[str, pa.Array | None], now: datetime, count: int) -> tuple[Mask, pa.Array]:
    """Which of `count` lines are surely valid events, and their times (null where a line is not)."""
    times = _times(columns["occurred_at"], count)
    passed = _holds(pc.and_(pc.greater_equal(times, _scalar(EARLIEST)), pc.less_equal(times, _scalar(now + AHEAD))))
    for name in _IDS:
        passed &= _text(columns[name], LONGEST_ID)
    for name in ("impression_id", "query"):
        passed &= _text(columns[name], LONGEST_TEXT)
    for name, pattern in (("quantity", _QUANTITY), ("unit_price", AMOUNT), ("value", AMOUNT)):
        passed &= _matches(columns[name], pattern)
    passed &= _small_line(columns["unit_price"], columns["quantity"])
    passed &= _among(columns["currency"], CURRENCIES)
    for name in NEVER_PASSED:
        passed &= ~_given(columns[name], count)
    return passed & _complete(columns, count), times


def _complete(columns: Mapping[str, pa.Array | None], count: int) -> Mask:
    """Whether a line has a known type, a person, and every field that its type requires."""
    type = columns["type"]
    if type is None:
        return np.zeros(count, bool)
    known = _holds(pc.is_in(type, pa.array([type.value for type in EventType])))
    known &= _given(columns["user_id"], count) | _given(columns["anonymous_id"], count)
    for name, types in _REQUIRED_BY.items():
        known &= _given(columns[name], count) | ~_holds(pc.is_in(type, pa.array(types)))
    return known


def _times(column: pa.Array | None, count: int) -> pa.Array:
    if column is None:
        return pa.nulls(count, TIME)
    if pa.types.is_timestamp(column.type):
        return column
    sure = pc.match_substring_regex(column, _MOMENT)
    return pc.if_else(sure, column, pa.scalar(None, pa.string())).cast(TIME)


def _text(column: pa.Array | None, longest: int) -> Mask | np.bool_:
    if column is None or column.null_count == len(column):
        return np.True_
    length = pc.utf8_length(column)
    fits = pc.and_(pc.greater(length, 0), pc.less_equal(length, longest))
    return _allowed(pc.and_(fits, pc.invert(pc.match_substring_regex(column, _CONTROL))))


def _matches(column: pa.Array | None, pattern: str) -> Mask | np.bool_:
    if column is None or column.null_count == len(column):
        return np.True_
    return _allowed(pc.match_substring_regex(column, pattern))


def _small_line(unit_price: pa.Array | None, quantity: pa.Array | None) -> Mask | np.bool_:
    """Whether unit price times quantity is surely not too large: together they have few characters."""
    if unit_price is None or quantity is None:
        return np.True_
    length = pc.add(pc.utf8_length(unit_price), pc.utf8_length(quantity))
    return _allowed(pc.less_equal(length, _LINE_DIGITS))


def _among(column: pa.Array | None, words: frozenset[str]) -> Mask | np.bool_:
    if column is None or column.null_count == len(column):
        return np.True_
    return _allowed(pc.if_else(column.is_valid(), pc.is_in(column, pa.array(sorted(words))), None))


def _given(column: pa.Array | None, count: int) -> Mask:
    return np.zeros(count, bool) if column is None else _array(column.is_valid())


def _allowed(verdict: pa.Array) -> Mask:
    """The verdict, true where there is no value."""
    return _array(pc.fill_null(verdict, True))


def _holds(verdict: pa.Array) -> Mask:
    """The verdict, false where there is no value."""
    return _array(pc.fill_null(verdict, False))


def _array(verdict: pa.Array) -> Mask:
    return np.asarray(verdict.to_numpy(zero_copy_only=False), bool)


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, TIME)
