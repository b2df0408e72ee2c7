"""DateTime, Duration, Decimal and JSON: what is accepted, what is refused, and how it is written."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from graphql import GraphQLError

from api.graphql.types.scalars import (
    read_date_time,
    read_decimal,
    read_duration,
    read_json,
    write_date_time,
    write_decimal,
    write_duration,
)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00.5z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T12:00:00.1234567890123Z", datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789+01:00", datetime(2026, 1, 31, 11, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_become_utc(text: str, moment: datetime) -> None:
    assert read_date_time(text) == moment
    assert read_date_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "20260131T120000Z",
        1_769_860_800,
        None,
        [],
        "0001-01-01T00:00:00+23:59",
        "2026-01-31T12:00:00Z\n",
        "٢٠٢٦-01-31T12:00:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:00+24:00",
        "0000-01-31T12:00:00Z",
        "2026-01-31T12:00:00." + "1" * 64 + "Z",
    ],
)
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(GraphQLError):
        read_date_time(text)


def test_times_are_written_in_utc() -> None:
    assert write_date_time(datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-31T10:00:00Z"


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(GraphQLError):
        write_date_time(datetime(2026, 1, 31))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P7D", timedelta(days=7)),
        ("P2W", timedelta(days=14)),
        ("PT36H", timedelta(hours=36)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ],
)
def test_iso_8601_durations_are_read(text: str, duration: timedelta) -> None:
    assert read_duration(text) == duration


@pytest.mark.parametrize("text", ["", "P", "PT", "P1Y", "P1M", "7D", "P-7D", "P7", "PT1.5H", "P1DT", 7, None, "P7D\n"])
def test_other_durations_are_refused(text: object) -> None:
    with pytest.raises(GraphQLError):
        read_duration(text)


@pytest.mark.parametrize("text", ["P0D", "P7D", "PT12H", "P1DT2H3M4S", "PT5S"])
def test_durations_are_written_as_they_were_read(text: str) -> None:
    assert write_duration(read_duration(text)) == text


@pytest.mark.parametrize(("value", "number"), [("12.90", Decimal("12.90")), ("-1", Decimal(-1)), (5, Decimal(5))])
def test_decimals_keep_their_digits(value: object, number: Decimal) -> None:
    assert str(read_decimal(value)) == str(number)


@pytest.mark.parametrize(
    "value", ["", "nan", "sNaN", "1e5", "1,5", 0.1, True, None, [], "9" * 40, "0" * 11, "٣", "1_0"]
)
def test_other_decimals_are_refused(value: object) -> None:
    with pytest.raises(GraphQLError):
        read_decimal(value)


def test_decimals_are_written_without_an_exponent() -> None:
    assert write_decimal(Decimal("1E+3")) == "1000"
    with pytest.raises(GraphQLError):
        write_decimal(Decimal("NaN"))


def test_json_of_at_most_32_levels_is_accepted_unchanged() -> None:
    value = {"a": [1, "b", None, {"c": 1.5}]}
    assert read_json(value) is value
    deep: object = 1
    for _ in range(32):
        deep = [deep]
    with pytest.raises(GraphQLError):
        read_json(deep)
