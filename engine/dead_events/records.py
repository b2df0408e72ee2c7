"""Makes the row of a dead event: its body as received, its person if one can be read, and the reason.

The detail is also for readers who must not see the person: it says what is wrong and repeats nothing of the event.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import asyncpg
from pydantic import ValidationError

from bus.envelope import Kind
from core.contract import EARLIEST, Event, EventType
from core.sources import named_source
from db.dead_events import DeadReason, NewDeadEvent
from engine.outcomes import valid_id

_MAX_FAULTS: Final = 3
_WHOLE: Final = "it"  # where a fault has no field
_KNOWN_FIELDS: Final = {field.alias or name for name, field in Event.model_fields.items()}

CONFLICT: Final = "Another event is stored under this source, id and occurredAt."


def of_event(event: Event, reason: DeadReason, detail: str, attempts: int = 1) -> NewDeadEvent:
    """The row of a valid event, as its sender reported it: under the guest's id, even if the guest is a user now."""
    event = event.as_sent
    return NewDeadEvent(
        key=_digest(f"{event.identity:x}:{event.digest:x}".encode()),
        kind="EVENT",
        reason=reason,
        detail=detail,
        attempts=attempts,
        task=Kind.STORE_EVENTS,
        source=named_source(event.source),
        event_id=event.id,
        occurred_at=event.occurred_at,
        event_type=event.type,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        body=event.model_dump_json(by_alias=True, exclude_none=True).encode(),
        moment=event.moment,
    )


def of_element(element: Any, body: bytes, error: ValidationError, attempts: int = 1) -> NewDeadEvent:
    """The row of an element of a batch that is not a valid event; `body` is its JSON."""
    fields = element if isinstance(element, dict) else {}
    return NewDeadEvent(
        key=_digest(body),
        kind="EVENT",
        reason=DeadReason.INVALID,
        detail="; ".join(_faults(error)),
        attempts=attempts,
        task=Kind.STORE_EVENTS,
        source=_source(fields.get("source")),
        event_id=valid_id(fields.get("id")),
        occurred_at=_time(fields.get("occurredAt")),
        event_type=_type(fields.get("type")),
        user_id=valid_id(fields.get("userId")),
        anonymous_id=valid_id(fields.get("anonymousId")),
        body=body,
        moment=min(filter(None, map(_time, (fields.get("occurredAt"), fields.get("receivedAt")))), default=EARLIEST),
    )


def of_message(body: bytes, task: str | None, reason: DeadReason, detail: str, attempts: int = 1) -> NewDeadEvent:
    """The row of a message in which no event can be read; it names no person."""
    return NewDeadEvent(
        key=_digest(body),
        kind="MESSAGE",
        reason=reason,
        detail=detail,
        attempts=attempts,
        task=task,
        source=None,
        event_id=None,
        occurred_at=None,
        event_type=None,
        user_id=None,
        anonymous_id=None,
        body=body,
        moment=EARLIEST,
    )


def of_refused_event(event: Event, error: Exception) -> NewDeadEvent:
    """The row of an event that Postgres refuses. The message of the error may repeat the event, so it is left out."""
    where = getattr(error, "column_name", None) or getattr(error, "constraint_name", None)
    state = getattr(error, "sqlstate", None) if isinstance(error, asyncpg.PostgresError) else None
    named = ", ".join(filter(None, (type(error).__name__, state and f"SQLSTATE {state}", where and f"at {where}")))
    return of_event(event, DeadReason.UNSTORABLE, f"Postgres refuses it: {named}.")


def element_json(element: Any) -> bytes:
    """The JSON of an element of a batch, also where it is not a valid event."""
    return json.dumps(element, separators=(",", ":")).encode()


def _faults(error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:_MAX_FAULTS]:
        field = str(fault["loc"][0]) if fault["loc"] else _WHOLE
        yield f"{field if field in (*_KNOWN_FIELDS, _WHOLE) else 'a field of another name'}: {fault['msg']}"


def _source(value: object) -> str | None:
    return valid_id(named_source(value)) if isinstance(value, str) else None


def _type(value: object) -> str | None:
    return value if isinstance(value, str) and value in EventType.__members__ else None


def _time(value: object) -> datetime | None:
    with suppress(ValueError, OverflowError):  # in UTC it may lie before the first year or after the last
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    return None


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
