"""What a benchmark reports: one measured value with its unit, interval and reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    `low` and `high` bound its 95 % interval (or the least and most of repeated runs); `reference` says in words what
    it is to be held against.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    reference: str | None = None
