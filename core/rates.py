"""Texts of rate limits, such as `6000/minute`: read by settings, commands and gateways alike."""

from typing import TYPE_CHECKING, Final

from core.errors import InvalidInput

if TYPE_CHECKING:
    from limits import RateLimitItem

OFF: Final = frozenset({"0", "off"})
MOST_UNITS: Final = 1_000_000_000
LONGEST_WINDOW: Final = 86_400  # seconds
LONGEST_TEXT: Final = 64  # characters
_RULE: Final = (
    f"A rate is a number from 1 to {MOST_UNITS:,}, a slash and a time of at most a day, as 6000/minute; or off"
)


def read_rate(text: str, field: str = "rate") -> "RateLimitItem | None":
    """The rate in a text; None for `off` and `0`. Raises InvalidInput for any other text that is no rate."""
    from limits import parse_many  # here, because it takes 0.1 s and most commands need no rates

    if text.strip().lower() in OFF:
        return None
    try:
        rates = parse_many(text) if len(text) <= LONGEST_TEXT else []
    except ValueError:
        rates = []
    if len(rates) != 1 or not 1 <= rates[0].amount <= MOST_UNITS or not 1 <= rates[0].get_expiry() <= LONGEST_WINDOW:
        raise InvalidInput(_RULE, field)
    return rates[0]
