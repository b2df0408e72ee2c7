"""Amounts of money and their currencies: how many digits they have, how they are written, what they are in cents."""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from core.currencies import CURRENCIES

AMOUNT_DIGITS: Final = 14
DECIMAL_PLACES: Final = 4
WHOLE_DIGITS: Final = AMOUNT_DIGITS - DECIMAL_PLACES
LARGEST_LINE: Final = 100_000_000_000  # unit price times quantity
LARGEST_SUM: Final = 2**53 - 1  # cents; sums stay there. Every reader of JSON holds it exactly
_CENT: Final = Decimal(1)
_PLAIN: Final = re.compile(r"-?(?:(?!0\d{10})\d{1,28}(?:\.\d{1,18})?|NaN|Infinity)", re.ASCII)

Amount = Annotated[Decimal, Field(ge=0, max_digits=AMOUNT_DIGITS, decimal_places=DECIMAL_PLACES, allow_inf_nan=False)]


def read_decimal(value: object) -> Decimal:
    """The number in a text of plain digits, or a whole number. Raises ValueError.

    Floats are refused: they have already lost digits. NaN and the infinities are read, so that the bounds of a field
    refuse them, and with them one element instead of the whole call.
    """
    if isinstance(value, Decimal):
        return value
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**28
    text = str(value) if whole else value
    if not isinstance(text, str) or not _PLAIN.fullmatch(text):
        raise ValueError('must be a number in plain digits, such as "12.50"')
    return Decimal(text)


def has_no_sign(amount: Decimal) -> Decimal:
    """The amount. Raises ValueError for a negative zero, which compares as zero."""
    if amount.is_zero() and amount.is_signed():
        raise ValueError("must not be a negative zero")
    return amount


PLAIN_AMOUNT: Final = rf"^[0-9]{{1,{WHOLE_DIGITS}}}(\.[0-9]{{1,{DECIMAL_PLACES}}})?$"
_AS_WRITTEN = Annotated[str, Field(pattern=PLAIN_AMOUNT)] | Annotated[int, Field(ge=0, lt=10**WHOLE_DIGITS)]
ExactAmount = Annotated[
    Amount, AfterValidator(has_no_sign), BeforeValidator(read_decimal, json_schema_input_type=_AS_WRITTEN)
]
"""An amount as the GraphQL scalar `Decimal` reads it."""


def _exists(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError("is not a currency of ISO 4217")
    return currency


Currency = Annotated[str, Strict(), AfterValidator(_exists)]


def cents_of(amount: Decimal) -> int:
    """The amount in hundredths, halves away from zero, as Postgres rounds."""
    return int((amount * 100).quantize(_CENT, rounding=ROUND_HALF_UP))


def bounded_sum(cents: int) -> int:
    """The sum, at most LARGEST_SUM in either direction."""
    return max(-LARGEST_SUM, min(cents, LARGEST_SUM))


def plain_amount(amount: Decimal | None) -> str | None:
    """The amount in plain digits without needless zeros: 2.50 is "2.5"."""
    return None if amount is None else format(amount.normalize(), "f")
