"""The messages we send: one function makes the envelope of each kind."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from bus.envelope import ATTEMPTS, TASK, TRACEPARENT, Envelope, Kind
from core import telemetry
from core.contract import Event

_EVENTS: Final = TypeAdapter(list[Event])


def events_json(events: Sequence[Event]) -> bytes:
    """These events as a JSON array."""
    return _EVENTS.dump_json(list(events), by_alias=True, exclude_none=True)


def store_events(events: Sequence[Event], attempts: int = 0) -> Envelope:
    """Asks a worker to store these events. `attempts`: how often they already ended a worker's process."""
    return store_arrays([events_json(events)], attempts)


def store_arrays(arrays: Sequence[bytes], attempts: int = 0, id: UUID | None = None) -> Envelope:
    """Asks a worker to store the events of these JSON arrays, as one batch."""
    body = b"[" + b",".join(array[1:-1] for array in arrays) + b"]"
    headers = _trace() | ({ATTEMPTS: attempts} if attempts else {})
    return Envelope(kind=Kind.STORE_EVENTS, id=id or uuid4(), headers=headers, body=body)


def train(kind: str) -> Envelope:
    """Asks a trainer to carry out the oldest waiting training of this kind.

    A lost message does no harm: it is sent again while the training waits.
    """
    return Envelope(kind=Kind.TRAIN, headers=_trace(), body=kind.encode())


def export_events(period: str) -> Envelope:
    """Asks a trainer to carry out the export of this day to the lake."""
    return Envelope(kind=Kind.EXPORT_EVENTS, headers=_trace(), body=period.encode())


def as_received(task: str, body: bytes, id: UUID) -> Envelope:
    """Forwards a message we could not read, unchanged, to the task it names."""
    return Envelope(kind=Kind.AS_RECEIVED, id=id, headers=_trace() | {TASK: task}, body=body)


def _trace() -> dict[str, str | int]:
    place = telemetry.traceparent()
    return {TRACEPARENT: place} if place else {}
