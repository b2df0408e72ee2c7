"""The scalars that GraphQL lacks: DateTime, Duration, Decimal and JSON. Each is read strictly and written one way."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NewType, NoReturn

import orjson
import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from core import amounts
from core.moments import read_moment

_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>\d{1,5})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,7})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,11})S)?)?",
    re.ASCII,
)
_MAX_JSON_LEVELS = 32


def read_date_time(value: object) -> datetime:
    """An RFC 3339 time as a datetime in UTC; digits beyond microseconds are cut off."""
    try:
        return read_moment(value)
    except ValueError:
        _refuse("a DateTime (RFC 3339 with an offset, such as 2026-01-31T12:00:00Z)", value)


def write_date_time(moment: datetime) -> str:
    """RFC 3339 in UTC, ending in Z; raises GraphQLError for a time without a zone."""
    if moment.tzinfo is None:
        raise GraphQLError("A DateTime without a time zone cannot be written.")
    if moment.tzinfo is UTC:
        return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()  # as `isoformat`, in a quarter of the time
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_duration(value: object) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds; months and years have no fixed length."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        _refuse("a Duration (ISO 8601 in weeks, days, hours, minutes and seconds, such as P7D or PT12H)", value)
    try:
        return timedelta(**{unit: int(amount) for unit, amount in match.groupdict(default="0").items()})
    except OverflowError:
        _refuse("a Duration", value)


def write_duration(duration: timedelta) -> str:
    """ISO 8601 in days, hours, minutes and whole seconds."""
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    time = "".join(f"{amount}{unit}" for amount, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if amount)
    days = f"{duration.days}D" if duration.days or not time else ""
    return f"P{days}{'T' if time else ''}{time}"


def read_decimal(value: object) -> Decimal:
    """A decimal number as the contracts of events and items read it; see `core.amounts.read_decimal`."""
    try:
        return amounts.read_decimal(value)
    except ValueError:
        _refuse('a Decimal (a string of plain digits, such as "12.90", or a whole number)', value)


def write_decimal(value: Decimal) -> str:
    """Plain digits, never an exponent; raises GraphQLError for NaN and the infinities."""
    if not value.is_finite():
        raise GraphQLError("A Decimal must be a finite number.")
    return format(value, "f")


def read_json(value: Any) -> Any:
    """Any JSON value of at most 32 levels; raises GraphQLError for a deeper one, which could not be written again."""
    level, depth = [value], 0
    while level:
        level = [inner for outer in level for inner in _children(outer)]
        depth += 1
        if depth > _MAX_JSON_LEVELS:
            raise GraphQLError(f"A JSON value may have at most {_MAX_JSON_LEVELS} levels.")
    return value


def write_json(value: Any) -> Any:
    """The value as it is."""
    return value


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def shown(value: object) -> str:
    """A value from a caller for an error message: JSON of at most 80 characters, without the content of containers."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    text = orjson.dumps(value[:80] if isinstance(value, str) else value, default=str).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse(kind: str, value: object) -> NoReturn:
    raise GraphQLError(f"This is not {kind}: {shown(value)}")


def _literal(read: Callable[[Any], Any]) -> Callable[[ValueNode, Any], Any]:
    """Reads a literal as `read` does the value; its errors know their place in the document."""

    def read_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return read(value_from_ast_untyped(node, variables))
        except GraphQLError as error:
            raise GraphQLError(error.message, node) from None

    return read_literal


Scope = NewType("Scope", str)
"""A scope in a directive."""

FieldSet = NewType("FieldSet", str)
"""The fields of a key."""

AnyEntity = NewType("AnyEntity", object)
"""A representation of an entity."""

SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A point in time: RFC 3339 with an offset, such as 2026-01-31T12:00:00Z. Answers are always in"
        " UTC and end in Z.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_date_time,
        parse_value=read_date_time,
        parse_literal=_literal(read_date_time),
    ),
    timedelta: strawberry.scalar(
        name="Duration",
        description="A length of time: ISO 8601 in weeks, days, hours, minutes and seconds, such as P7D or PT12H."
        " Months and years are not allowed.",
        specified_by_url="https://www.iso.org/iso-8601-date-and-time-format.html",
        serialize=write_duration,
        parse_value=read_duration,
        parse_literal=_literal(read_duration),
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal number, as a string such as "12.90". Whole numbers may also be sent as integers.',
        specified_by_url="https://www.w3.org/TR/xmlschema11-2/#decimal",
        serialize=write_decimal,
        parse_value=read_decimal,
        parse_literal=_literal(read_decimal),
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value, of at most 32 levels.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=write_json,
        parse_value=read_json,
        parse_literal=_literal(read_json),
    ),
    Scope: strawberry.scalar(
        name="federation__Scope",
        description="A scope of an access token, named as Apollo Federation names it.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc6749#section-3.3",
        serialize=str,
        parse_value=str,
    ),
    FieldSet: strawberry.scalar(
        name="federation__FieldSet",
        description="Fields of a type, named as Apollo Federation names them.",
        serialize=str,
        parse_value=str,
    ),
    AnyEntity: strawberry.scalar(
        name="_Any",
        description="A representation of an entity: an object with `__typename` and the fields of one of its keys.",
        specified_by_url="https://specs.apollo.dev/federation/v2.5",
        serialize=write_json,
        parse_value=read_json,
        parse_literal=_literal(read_json),
    ),
}
