"""Times as senders write them: RFC 3339 with an offset from UTC, on every way in."""

import re
from datetime import UTC, datetime
from typing import Final

MOMENT_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
LONGEST_MOMENT: Final = 64  # characters
_MOMENT: Final = re.compile(MOMENT_PATTERN.replace("$", r"\Z"))  # Python's own reader accepts much more
_NOT_A_MOMENT: Final = "must be a time of RFC 3339 with offset, as in 2025-03-01T12:00:00Z"


def read_moment(value: object) -> datetime:
    """The time in UTC; digits beyond microseconds are cut off. A datetime was read from a typed source before.

    Raises ValueError for anything else, also for a leap second, for the hour 24 and for a time outside the years 1 to
    9999.
    """
    moment = value if isinstance(value, datetime) else _parsed(value)
    if moment.tzinfo is None:
        raise ValueError("needs its offset from UTC, as in 2025-03-01T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies before the year 1 or after the year 9999") from None


def _parsed(value: object) -> datetime:
    if not isinstance(value, str) or len(value) > LONGEST_MOMENT or not _MOMENT.match(value):
        raise ValueError(_NOT_A_MOMENT)
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError(_NOT_A_MOMENT) from None
