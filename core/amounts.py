"""Amounts of money and their currencies: how many digits they have, how they are written, what they are in cents."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from core.currencies import CURRENCIES

AMOUNT_DIGITS: Final = 14
DECIMAL_PLACES: Final = 4
WHOLE_DIGITS: Final = AMOUNT_DIGITS - DECIMAL_PLACES
LARGEST_LINE: Final = 100_000_000_000  # unit price times quantity
LARGEST_SUM: Final = 2**53 - 1  # cents; sums stay there. Every reader of JSON holds it exactly
_CENT: Final = Decimal(1)

Amount = Annotated[Decimal, Field(ge=0, max_digits=AMOUNT_DIGITS, decimal_places=DECIMAL_PLACES, allow_inf_nan=False)]


def _exists(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError("is not a currency of ISO 4217")
    return currency


Currency = Annotated[str, AfterValidator(_exists)]


def cents_of(amount: Decimal) -> int:
    """The amount in hundredths, halves away from zero, as Postgres rounds."""
    return int((amount * 100).quantize(_CENT, rounding=ROUND_HALF_UP))


def bounded_sum(cents: int) -> int:
    """The sum, at most LARGEST_SUM in either direction."""
    return max(-LARGEST_SUM, min(cents, LARGEST_SUM))


def plain_amount(amount: Decimal | None) -> str | None:
    """The amount in plain digits without needless zeros: 2.50 is "2.5"."""
    return None if amount is None else format(amount.normalize(), "f")
