"""What a job of lists writes. Without NumPy, which the workers that schedule such jobs do without."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from db.list_jobs import Format
from engine.catalogue.filters import Filter


@dataclass(frozen=True, slots=True)
class WantedLists:
    """The lists that a job writes, and the format of its file."""

    placement: str = "home"
    first: int | None = None  # None: as many as the placement says
    market: str | None = None
    filter: Filter | None = None
    format: Format = "parquet"
    list: str | None = None  # the kind; None: the placement's

    @staticmethod
    def of(stored: Any) -> "WantedLists":
        """What a job keeps, read again."""
        return _WANTED.validate_python(stored)

    def as_json(self) -> dict[str, Any]:
        """As a job keeps it."""
        stored: dict[str, Any] = _WANTED.dump_python(self, mode="json")
        return stored


_WANTED: Final = TypeAdapter(WantedLists)
