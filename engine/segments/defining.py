"""Checks the definition of a segment, and saves it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from core.errors import InvalidInput
from db.postgres import Connection
from db.segments import Segment, save_segment
from ml.hazard.forecasts import LONGEST
from ml.rfm import SEGMENTS
from ml.segments import Chance, Conditions, Span

LONGEST_NAME: Final = 100  # characters
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SPANS: Final = ("recency", "orders", "spent")
_LARGEST: Final = 1e12
WITHIN: Final = {"churn": 90, "next_purchase": 30}  # conditions on forecasts, and the days that they look ahead


async def define_segment(connection: Connection, id: str, name: str, wanted: Conditions, changed_by: str) -> Segment:
    """Save a segment; its members are found within a minute. Raises InvalidInput, naming what is wrong."""
    check_segment_id(id)
    if not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"name must have 1 to {LONGEST_NAME} printable characters.", "name")
    _check(wanted)
    return await save_segment(connection, id, name, wanted.as_json(), changed_by)


def check_segment_id(id: str) -> str:
    """The id itself. Raises InvalidInput when it has other than 1 to 64 letters, digits, dots, dashes, underscores."""
    if not is_segment_id(id):
        raise InvalidInput("id must have 1 to 64 letters, digits, dots, dashes and underscores.", "id")
    return id


def is_segment_id(id: str) -> bool:
    """Whether a segment may have this id."""
    return _ID.fullmatch(id) is not None


def read_conditions(document: object) -> Conditions:
    """The conditions in a JSON document such as {"rfm": ["LOYAL"], "orders": {"min": 2}}. Raises InvalidInput."""
    if not isinstance(document, Mapping) or not document.keys() <= {"rfm", *_SPANS, *WITHIN}:
        raise InvalidInput(f"where takes these conditions: rfm, {', '.join((*_SPANS, *WITHIN))}.", "where")
    rfm = document.get("rfm", [])
    if not isinstance(rfm, list) or not all(isinstance(name, str) for name in rfm):
        raise InvalidInput("where.rfm is a list of names.", "where.rfm")
    given: dict[str, Any] = {name: _span(name, document[name]) for name in _SPANS if name in document}
    given |= {name: _chance(name, document[name]) for name in WITHIN if name in document}
    wanted = Conditions(tuple(rfm), **given)
    _check(wanted)
    return wanted


def _span(name: str, given: object) -> Span:
    if not isinstance(given, Mapping) or not given.keys() <= {"min", "max"}:
        raise InvalidInput(f'where.{name} is as {{"min": 1, "max": 2}}, or one of both.', f"where.{name}")
    values: dict[str, Any] = dict(given)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        raise InvalidInput(f"where.{name} takes numbers.", f"where.{name}")
    return Span(**values)


def _chance(name: str, given: object) -> Chance:
    if not isinstance(given, Mapping) or not given.keys() <= {"within", "min", "max"}:
        raise InvalidInput(f'where.{name} is as {{"within": 90, "min": 0.5}}; within is in days.', f"where.{name}")
    within = given.get("within", WITHIN[name])
    if not isinstance(within, int) or isinstance(within, bool):
        raise InvalidInput(f"where.{name}.within is a whole number of days.", f"where.{name}.within")
    return Chance(within, _span(name, {bound: given[bound] for bound in ("min", "max") if bound in given}))


def _check(wanted: Conditions) -> None:
    if wanted == Conditions():
        raise InvalidInput("where needs a condition: without one, everybody would belong to the segment.", "where")
    unknown = [name for name in wanted.rfm if name not in SEGMENTS]
    if unknown or len(set(wanted.rfm)) < len(wanted.rfm):
        raise InvalidInput(f"where.rfm names each of these once: {', '.join(SEGMENTS)}.", "where.rfm")
    for name in _SPANS:
        _check_span(name, getattr(wanted, name), _LARGEST)
    for name in WITHIN:
        chance: Chance | None = getattr(wanted, name)
        if chance is None:
            continue
        if chance.span == Span():
            raise InvalidInput(f"where.{name} needs min or max, a probability.", f"where.{name}")
        if not 1 <= chance.within <= LONGEST:
            raise InvalidInput(f"where.{name} looks ahead 1 to {LONGEST} days.", f"where.{name}.within")
        _check_span(name, chance.span, 1)


def _check_span(name: str, span: Span, largest: float) -> None:
    low, high = span
    if not all(value is None or 0 <= value <= largest for value in (low, high)):
        raise InvalidInput(f"where.{name} takes numbers from 0 to {largest:.0f}.", f"where.{name}")
    if low is not None and high is not None and low > high:
        raise InvalidInput(f"where.{name}: min is above max.", f"where.{name}")
