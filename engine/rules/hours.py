"""Rules that hold on some days of the week and in some hours of the day, by the clocks of a time zone."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

HOURS: Final = 24


class Weekday(StrEnum):
    """A day of the week, in the order of `datetime.weekday`."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


_WEEK: Final = tuple(Weekday)


class Hours(BaseModel):
    """Hours of a day, until before `to`. If `to` is the earlier one, they go over midnight."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    from_: Annotated[int, Field(strict=True, ge=0, lt=HOURS)] = Field(alias="from")
    to: Annotated[int, Field(strict=True, ge=1, le=HOURS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.from_ == self.to:
            raise ValueError("has no hour in it: from and to are the same")
        return self

    def has(self, hour: int) -> bool:
        """Whether an hour of the day is one of them."""
        if self.from_ < self.to:
            return self.from_ <= hour < self.to
        return hour >= self.from_ or hour < self.to


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not known, or not even a name
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return name


TimeZone = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64), AfterValidator(_known)]


def holds(weekdays: tuple[Weekday, ...], hours: Hours | None, zone: ZoneInfo, now: float) -> bool:
    """Whether a moment, in seconds, is on one of the days and in the hours."""
    local = datetime.fromtimestamp(now, zone)
    return (not weekdays or _WEEK[local.weekday()] in weekdays) and (hours is None or hours.has(local.hour))


def next_hour(zone: ZoneInfo, now: float) -> float:
    """The moment at which the next hour of the day begins, or the clocks change: until then nothing begins or ends.

    Clocks change by half an hour in places: it is then the first moment at which the hour is another one, or earlier.
    """
    local = datetime.fromtimestamp(now, zone)
    rest = timedelta(hours=1) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    until = now + rest.total_seconds()
    while (earlier := until - 900) > now and datetime.fromtimestamp(earlier, UTC).astimezone(zone).hour != local.hour:
        until = earlier
    return until
