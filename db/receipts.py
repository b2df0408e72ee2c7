"""What a receipt says of each store: how far it is, since when, and what else there is to say."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self


class PersonStore(StrEnum):
    """Where something of a person may be."""

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
    """How far a store is."""

    PENDING = "PENDING"
    ERASED = "ERASED"
    NOTHING_HELD = "NOTHING_HELD"


class Told(NamedTuple):
    """What became of one store, when, and what there is to say about it."""

    status: StoreState
    at: datetime | None = None
    note: str | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """As it is stored."""
        at = stored.get("at")
        return cls(StoreState(stored["status"]), at and datetime.fromisoformat(at), stored.get("note"))

    def written(self) -> dict[str, Any]:
        """To be stored."""
        return {"status": self.status, "at": self.at and self.at.isoformat(), "note": self.note}


NEVER_HELD: Final = {
    PersonStore.REJECT_FILES: "What a loader sets aside are line numbers, fields and reasons, on the operator's disk.",
    PersonStore.IMPRESSIONS: "This release keeps none.",
    PersonStore.FORECASTS: "This release keeps none.",
    PersonStore.DRIFT_SAMPLES: "This release keeps none.",
}
WAITS: Final = Told(StoreState.PENDING)


def unbegun(now: datetime) -> dict[str, Any]:
    """How far each store is before anything is done."""
    told = {store: Told(StoreState.NOTHING_HELD, now, note) for store, note in NEVER_HELD.items()}
    return {store.value: told.get(store, WAITS).written() for store in PersonStore}
