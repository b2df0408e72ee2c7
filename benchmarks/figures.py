"""What a benchmark reports: measured values, each with its unit, interval and reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    `low` and `high` bound its 95 % interval, or are the least and the greatest value of repeated runs.
    `reference` says in words what the value is compared with.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    reference: str | None = None
