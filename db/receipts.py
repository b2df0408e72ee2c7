"""The receipt of an erasure: one report per store."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self


class PersonStore(StrEnum):
    """A place where data of a person may be."""

    POSTGRES = "POSTGRES"
    REDIS = "REDIS"
    OUTBOX = "OUTBOX"
    QUEUE = "QUEUE"
    DEAD_EVENTS = "DEAD_EVENTS"
    REJECT_FILES = "REJECT_FILES"
    IMPRESSIONS = "IMPRESSIONS"
    FORECASTS = "FORECASTS"
    LAKE = "LAKE"
    DRIFT_SAMPLES = "DRIFT_SAMPLES"
    BUNDLE = "BUNDLE"


class StoreState(StrEnum):
    """How far the erasure is in one store."""

    PENDING = "PENDING"
    ERASED = "ERASED"
    NOTHING_HELD = "NOTHING_HELD"


class StoreReport(NamedTuple):
    """The state of one store, since when, and a note for the reader."""

    status: StoreState
    at: datetime | None = None
    note: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The report that `as_json` wrote."""
        at = stored.get("at")
        return cls(StoreState(stored["status"]), at and datetime.fromisoformat(at), stored.get("note"))

    def as_json(self) -> dict[str, Any]:
        """The report as JSON, to be stored."""
        return {"status": self.status, "at": self.at and self.at.isoformat(), "note": self.note}


NEVER_HELD: Final = {
    PersonStore.REJECT_FILES: "Rejects of a loader hold only line numbers, fields and reasons, on the operator's disk.",
    PersonStore.IMPRESSIONS: "This release keeps none.",
    PersonStore.FORECASTS: "This release keeps none.",
    PersonStore.DRIFT_SAMPLES: "This release keeps none.",
}
NOT_BEGUN: Final = StoreReport(StoreState.PENDING)


def initial_reports(now: datetime) -> dict[str, Any]:
    """The reports before anything is erased, as JSON by store."""
    never_held = {store: StoreReport(StoreState.NOTHING_HELD, now, note) for store, note in NEVER_HELD.items()}
    return {store.value: never_held.get(store, NOT_BEGUN).as_json() for store in PersonStore}
